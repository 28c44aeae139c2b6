-- One row per account and day: what Scopix states as used, included and left.
-- Credits come from the usage breakdown, else from the usage check; both state the same balance. If neither states any, the
-- requests of the plan take their place, in their own unit. Only the plan states the start of the billing period.

with

usage_breakdown as (

    select * from {{ ref('stg_scopix__usage_breakdown') }}

),

usage_checks as (

    select * from {{ ref('stg_scopix__usage_checks') }}

),

plan_utilization as (

    select * from {{ ref('stg_scopix__plan_utilization') }}
    where period = 'month'

),

stated as (

    select
        account,
        snapshot_date as date,
        1 as preference,
        'credit' as unit,
        cast(total_credits_used as numeric(28, 9)) as used,
        cast(monthly_limit as numeric(28, 9)) as quota,
        cast(remaining_credits as numeric(28, 9)) as remaining
    from usage_breakdown
    where total_credits_used is not null

    union all

    select
        account,
        snapshot_date as date,
        2 as preference,
        'credit' as unit,
        cast(current_usage as numeric(28, 9)) as used,
        cast(monthly_limit as numeric(28, 9)) as quota,
        cast(available_credits as numeric(28, 9)) as remaining
    from usage_checks
    where current_usage is not null

    union all

    select
        account,
        snapshot_date as date,
        3 as preference,
        'request' as unit,
        cast(requests_used as numeric(28, 9)) as used,
        cast(monthly_requests_limit as numeric(28, 9)) as quota,
        cast(requests_remaining as numeric(28, 9)) as remaining
    from plan_utilization
    where requests_used is not null

),

preferred as (

    select
        *,
        row_number() over (partition by account, date order by preference) as place
    from stated

),

-- A period that does not contain the day is not the period of the numbers.
periods as (

    select
        account,
        snapshot_date as date,
        cast(billing_start as date) as period_start
    from plan_utilization
    where
        cast(billing_start as date) <= snapshot_date
        and (cast(billing_end as date) >= snapshot_date or billing_end is null)

),

final as (

    select
        preferred.account,
        preferred.date,
        preferred.unit,
        preferred.used,
        preferred.quota,
        preferred.remaining,
        periods.period_start
    from preferred
    left join periods
        on preferred.account = periods.account
        and preferred.date = periods.date
    where preferred.place = 1

)

select * from final
