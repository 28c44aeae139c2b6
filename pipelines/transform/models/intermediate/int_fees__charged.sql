-- One row per provider, billing account, fee and period that it is charged for.

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

-- The versions of a fee that adjoin are one fee: a change of the amount does not change the days on which it is charged.
versions as (

    select
        *,
        lag(valid_to) over (partition by provider, billing_account, fee_id, kind order by valid_from) as valid_until_before
    from all_fees

),

anchored as (

    select
        *,
        max(case when valid_until_before = valid_from then null else valid_from end) over (
            partition by provider, billing_account, fee_id, kind
            order by valid_from
            rows between unbounded preceding and current row
        ) as started_on
    from versions

),

in_month as (

    select
        anchored.*,
        months.billing_month,
        months.next_month,
        months.month_start,
        months.month_end,
        months.billing_timezone,
        months.is_complete,
        {{ months_between('anchored.started_on', 'months.billing_month') }} as months_since
    from anchored
    inner join months
        on anchored.provider = months.provider
        and anchored.billing_account = months.billing_account
        and anchored.valid_from < months.next_month
        and (anchored.valid_to > months.billing_month or anchored.valid_to is null)

),

-- A period starts on the day of the month on which the fee started, or on the last day of a shorter month. It is counted
-- from that day, not from the period before: 31 January, 28 February, 31 March; 29 February, 28 February, 29 February.
periods as (

    select
        *,
        cast({{ later('month', 'months_since', 'started_on') }} as date) as period_start,
        cast({{ later('month', "months_since + case when kind = 'yearly' then 12 else 1 end", 'started_on') }} as date)
            as period_end
    from in_month
    where kind = 'monthly' or (kind = 'yearly' and mod(months_since, 12) = 0)

),

-- None of the vendors states a fee by the day: a period is charged in full, at the amount of its first day. It is complete
-- from then on, because nothing is added to it later.
recurring as (

    select
        provider,
        billing_account,
        fee_id,
        kind,
        description,
        amount,
        currency,
        billing_month,
        {{ start_of_date('period_start', 'billing_timezone') }} as charge_period_start,
        {{ start_of_date('period_end', 'billing_timezone') }} as charge_period_end,
        true as is_complete
    from periods
    where period_start >= valid_from and (period_start < valid_to or valid_to is null)

),

one_time as (

    select
        provider,
        billing_account,
        fee_id,
        kind,
        description,
        amount,
        currency,
        billing_month,
        cast(valid_from as {{ type_utc() }}) as charge_period_start,
        {{ later('day', 1, 'cast(valid_from as ' ~ type_utc() ~ ')') }} as charge_period_end,
        true as is_complete
    from in_month
    where kind = 'one_time' and valid_from >= billing_month

),

-- A minimum is that of a billing month. If it changes within the month, the initial amount applies.
minimums as (

    select
        *,
        row_number() over (partition by provider, billing_account, fee_id, billing_month order by valid_from) as version_no
    from in_month
    where kind = 'minimum'

),

-- The shortfall against a minimum is known when the month is over; before that it would be the whole fee.
shortfalls as (

    select
        minimums.provider,
        minimums.billing_account,
        minimums.fee_id,
        minimums.kind,
        minimums.description,
        minimums.amount - coalesce(sum(priced_usage.billed_cost), 0) as amount,
        minimums.currency,
        minimums.billing_month,
        minimums.month_start as charge_period_start,
        minimums.month_end as charge_period_end,
        true as is_complete
    from minimums
    left join priced_usage
        on minimums.provider = priced_usage.provider
        and minimums.billing_account = priced_usage.billing_account
        and minimums.billing_month = priced_usage.billing_month
        and minimums.currency = priced_usage.currency
        and priced_usage.scenario = 'computed'
        and (minimums.sku_id = '' or minimums.sku_id = priced_usage.sku_id)
    where minimums.is_complete and minimums.version_no = 1
    group by
        minimums.provider, minimums.billing_account, minimums.fee_id, minimums.kind, minimums.description,
        minimums.amount, minimums.currency, minimums.billing_month, minimums.month_start, minimums.month_end
    having minimums.amount > coalesce(sum(priced_usage.billed_cost), 0)

),

unioned as (

    select * from recurring
    union all
    select * from one_time
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
