-- One row per scenario, provider, billing account, fee and period, or part of a period, for which the fee is charged.
-- Only a minimum depends on usage, so only minimums have rows of other scenarios than `computed`.
-- Longer than 200 lines: recurring fees, one-time fees and minimums share their versions and periods.

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

closed_periods as (

    select * from {{ ref('int_billing__closed_periods') }}
    where reopened_at is null

),

accounts as (

    select * from {{ ref('int_accounts__completed') }}

),

scenarios as (

    select * from {{ ref('int_billing__scenarios') }}

),

credited_usage as (

    select * from {{ ref('int_usage__credited') }}

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
        coalesce(sku_id, '') as sku_id,
        is_prorated,
        is_after_credits
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
        '' as sku_id,
        false as is_prorated,
        false as is_after_credits
    from signups
    where kind = 'fee'

),

-- Adjoining versions of a fee are one fee: a change of the amount does not move its charge dates.
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

-- All months since the fee started: the period that a version belongs to may have started in an earlier month.
since_start as (

    select
        anchored.*,
        {{ months_between('anchored.started_on', 'months.billing_month') }} as months_since
    from anchored
    inner join months
        on anchored.provider = months.provider
        and anchored.billing_account = months.billing_account
        and anchored.started_on < months.next_month
    where anchored.kind in ('monthly', 'yearly')

),

-- A period starts on the same day of the month as the fee, or on the last day of a shorter month. It is counted from the start
-- of the fee, not from the previous period: 31 January, 28 February, 31 March; in a leap year, 29 February again.
periods as (

    select
        *,
        cast({{ later('month', 'months_since', 'started_on') }} as date) as period_start,
        cast({{ later('month', "months_since + case when kind = 'yearly' then 12 else 1 end", 'started_on') }} as date)
            as period_end
    from since_start
    where kind = 'monthly' or mod(months_since, 12) = 0

),

-- Each version of a fee has a part of each period in which it is valid. The version that is valid on the period's first day
-- decides whether the period is prorated by day.
parts as (

    select
        *,
        greatest(valid_from, period_start) as part_start,
        least(coalesce(valid_to, period_end), period_end) as part_end,
        max(case when is_prorated and valid_from <= period_start then 1 else 0 end) over (
            partition by provider, billing_account, fee_id, kind, period_start
        ) as is_by_days
    from periods
    where period_end > valid_from and (period_start < valid_to or valid_to is null)

),

-- Unless it is prorated, a period is charged in full at the amount of its first day. A charge is complete from its first day
-- on, because nothing is added to it later.
charged_parts as (

    select
        *,
        case when is_by_days = 1 then part_end else period_end end as charged_until,
        {{ dbt.datediff('period_start', 'part_start', 'day') }} as days_before,
        {{ dbt.datediff('period_start', 'part_end', 'day') }} as days_until,
        {{ dbt.datediff('period_start', 'period_end', 'day') }} as days
    from parts
    where is_by_days = 1 or valid_from <= period_start

),

recurring as (

    select
        'computed' as scenario,
        charged_parts.provider,
        charged_parts.billing_account,
        charged_parts.fee_id,
        charged_parts.kind,
        charged_parts.description,
        case
            when charged_parts.is_by_days = 0 then charged_parts.amount
            else
                {{ allocated('charged_parts.amount', 'charged_parts.days_until', 'charged_parts.days') }}
                - {{ allocated('charged_parts.amount', 'charged_parts.days_before', 'charged_parts.days') }}
        end as amount,
        charged_parts.currency,
        months.billing_month,
        charged_parts.part_start as billed_on,
        {{ start_of_date('charged_parts.part_start', 'months.billing_timezone') }} as charge_period_start,
        {{ start_of_date('charged_parts.charged_until', 'months.billing_timezone') }} as charge_period_end,
        true as is_complete
    from charged_parts
    inner join months
        on charged_parts.provider = months.provider
        and charged_parts.billing_account = months.billing_account
        and charged_parts.part_start >= months.billing_month
        and charged_parts.part_start < months.next_month

),

-- A month whose last day is closed stays complete when an account with a shorter history is added later: only the accounts
-- that are closed have to be loaded for the whole month.
closed_months as (

    select
        months.provider,
        months.billing_account,
        months.billing_month
    from months
    inner join closed_periods
        on months.provider = closed_periods.provider
        and months.billing_account = closed_periods.billing_account
        and closed_periods.period_start < months.next_month
        and closed_periods.period_end >= months.next_month
    inner join accounts
        on closed_periods.provider = accounts.provider
        and closed_periods.account = accounts.account
    group by months.provider, months.billing_account, months.billing_month
    having max(accounts.complete_from_billing_date) <= months.billing_month

),

in_month as (

    select
        all_fees.*,
        months.billing_month,
        months.month_start,
        months.month_end,
        months.is_complete or closed_months.billing_month is not null as is_complete
    from all_fees
    inner join months
        on all_fees.provider = months.provider
        and all_fees.billing_account = months.billing_account
        and all_fees.valid_from < months.next_month
        and (all_fees.valid_to > months.billing_month or all_fees.valid_to is null)
    left join closed_months
        on months.provider = closed_months.provider
        and months.billing_account = closed_months.billing_account
        and months.billing_month = closed_months.billing_month

),

one_time as (

    select
        'computed' as scenario,
        provider,
        billing_account,
        fee_id,
        kind,
        description,
        amount,
        currency,
        billing_month,
        valid_from as billed_on,
        cast(valid_from as {{ type_utc() }}) as charge_period_start,
        {{ later('day', 1, 'cast(valid_from as ' ~ type_utc() ~ ')') }} as charge_period_end,
        true as is_complete
    from in_month
    where kind = 'one_time' and valid_from >= billing_month

),

-- A minimum applies to a billing month. If it changes within the month, the first amount applies.
computed_minimums as (

    select
        'computed' as scenario,
        *,
        row_number() over (partition by provider, billing_account, fee_id, billing_month order by valid_from) as version_no
    from in_month
    where kind = 'minimum'

),

minimums as (

    select
        *,
        false as is_forecast
    from computed_minimums
    where version_no = 1

    union all

    select
        scenarios.scenario,
        {% for column in [
            'provider', 'billing_account', 'fee_id', 'kind', 'description', 'amount', 'currency', 'valid_from', 'valid_to',
            'sku_id', 'is_prorated', 'is_after_credits', 'billing_month', 'month_start', 'month_end', 'is_complete',
        ] -%}
        computed_minimums.{{ column }},
        {% endfor -%}
        computed_minimums.version_no,
        scenarios.forecast is not null as is_forecast
    from computed_minimums
    inner join scenarios
        on computed_minimums.provider = scenarios.provider
        and computed_minimums.billing_account = scenarios.billing_account
        and computed_minimums.billing_month = scenarios.billing_month
    where computed_minimums.version_no = 1

),

used as (

    select
        minimums.scenario,
        minimums.provider,
        minimums.billing_account,
        minimums.fee_id,
        minimums.billing_month,
        sum(
            case
                when minimums.is_after_credits then credited_usage.billed_cost - credited_usage.credited - credited_usage.prepaid
                else credited_usage.billed_cost
            end
        ) as cost
    from minimums
    inner join credited_usage
        on minimums.scenario = credited_usage.scenario
        and minimums.provider = credited_usage.provider
        and minimums.billing_account = credited_usage.billing_account
        and minimums.billing_month = credited_usage.billing_month
        and minimums.currency = credited_usage.currency
        and (minimums.sku_id = '' or minimums.sku_id = credited_usage.sku_id)
    group by minimums.scenario, minimums.provider, minimums.billing_account, minimums.fee_id, minimums.billing_month

),

-- The shortfall against a minimum is known when the month is over; before that it would be the whole fee. A forecast knows it,
-- because it has the usage of the whole month.
shortfalls as (

    select
        minimums.scenario,
        minimums.provider,
        minimums.billing_account,
        minimums.fee_id,
        minimums.kind,
        minimums.description,
        minimums.amount - coalesce(used.cost, 0) as amount,
        minimums.currency,
        minimums.billing_month,
        minimums.billing_month as billed_on,
        minimums.month_start as charge_period_start,
        minimums.month_end as charge_period_end,
        true as is_complete
    from minimums
    left join used
        on minimums.scenario = used.scenario
        and minimums.provider = used.provider
        and minimums.billing_account = used.billing_account
        and minimums.fee_id = used.fee_id
        and minimums.billing_month = used.billing_month
    where (minimums.is_complete or minimums.is_forecast) and minimums.amount > coalesce(used.cost, 0)

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
        cast(scenario as {{ dbt.type_string() }}) as scenario,
        provider,
        billing_account,
        fee_id,
        kind,
        description,
        cast(amount as numeric(28, 9)) as amount,
        currency,
        billing_month,
        cast(billed_on as date) as billed_on,
        charge_period_start,
        charge_period_end,
        is_complete
    from unioned

)

select * from final
