-- One row per provider, billing account, fee and period for which it is charged.

with

fees as (

    select * from {{ ref('stg_billing__fees') }}

),

signups as (

    select * from {{ ref('int_billing__signups') }}

),

months as (

    select * from {{ ref('int_billing__months') }}

),

priced_usage as (

    select * from {{ ref('int_usage__priced') }}

),

all_fees as (

    select
        provider,
        billing_account,
        fee_id,
        kind,
        description,
        amount,
        currency,
        valid_from,
        valid_to,
        coalesce(sku_id, '') as sku_id
    from fees

    union all

    select
        provider,
        billing_account,
        term_id as fee_id,
        'one_time' as kind,
        description,
        amount,
        currency,
        signed_up_on as valid_from,
        null as valid_to,
        '' as sku_id
    from signups
    where kind = 'fee'

),

in_month as (

    select
        all_fees.*,
        months.billing_month,
        months.next_month,
        months.month_start,
        months.month_end,
        months.is_complete,
        row_number() over (
            partition by all_fees.provider, all_fees.billing_account, all_fees.fee_id, months.billing_month
            order by all_fees.valid_from
        ) as version_no
    from all_fees
    inner join months
        on all_fees.provider = months.provider
        and all_fees.billing_account = months.billing_account
        and all_fees.valid_from < months.next_month
        and (all_fees.valid_to > months.billing_month or all_fees.valid_to is null)

),

-- A fee that runs is charged in full for every month or year that it touches: no vendor of ours states a fee by the day.
-- Where it changes within a month, that month is charged as it began. It is complete from its first day, because nothing
-- more will come to it.
paid as (

    select
        provider,
        billing_account,
        fee_id,
        kind,
        description,
        amount,
        currency,
        billing_month,
        case when kind = 'one_time' then cast(valid_from as {{ type_utc() }}) else month_start end as charge_period_start,
        case
            when kind = 'one_time' then {{ dbt.dateadd('day', 1, 'cast(valid_from as ' ~ type_utc() ~ ')') }}
            when kind = 'yearly' then {{ dbt.dateadd('year', 1, 'month_start') }}
            else month_end
        end as charge_period_end,
        true as is_complete
    from in_month
    where
        (kind = 'one_time' and valid_from >= billing_month)
        or (
            version_no = 1
            and (
                kind = 'monthly'
                or (kind = 'yearly' and extract(month from valid_from) = extract(month from billing_month))
            )
        )

),

-- What a month's usage falls short of a minimum is known when the month is over; until then it would be the whole fee.
shortfalls as (

    select
        in_month.provider,
        in_month.billing_account,
        in_month.fee_id,
        in_month.kind,
        in_month.description,
        in_month.amount - coalesce(sum(priced_usage.billed_cost), 0) as amount,
        in_month.currency,
        in_month.billing_month,
        in_month.month_start as charge_period_start,
        in_month.month_end as charge_period_end,
        true as is_complete
    from in_month
    left join priced_usage
        on in_month.provider = priced_usage.provider
        and in_month.billing_account = priced_usage.billing_account
        and in_month.billing_month = priced_usage.billing_month
        and in_month.currency = priced_usage.currency
        and priced_usage.scenario = 'computed'
        and (in_month.sku_id = '' or in_month.sku_id = priced_usage.sku_id)
    where in_month.kind = 'minimum' and in_month.is_complete and in_month.version_no = 1
    group by
        in_month.provider, in_month.billing_account, in_month.fee_id, in_month.kind, in_month.description,
        in_month.amount, in_month.currency, in_month.billing_month, in_month.month_start, in_month.month_end
    having in_month.amount > coalesce(sum(priced_usage.billed_cost), 0)

),

unioned as (

    select * from paid
    union all
    select * from shortfalls

),

final as (

    select
        provider,
        billing_account,
        fee_id,
        kind,
        description,
        cast(amount as numeric(28, 9)) as amount,
        currency,
        billing_month,
        charge_period_start,
        charge_period_end,
        is_complete
    from unioned

)

select * from final
