-- One row per provider, billing account, billing month and scenario that rates the month. Only months that a restatement may
-- change, and months that are forecast, have rows.
-- `computed` has the current quantities, `billed` those before the first correction, `corrected <day>` those after the
-- correction of that day. The charges of a closed month are those of the scenario in which it was billed (`is_billed`). A
-- correction is the difference between two scenarios: it adds the scenario that has its day in `adds_on`, and subtracts the
-- scenario that has its day in `subtracts_on`.
-- A forecast rates a month three times: with the expected, a low and a high quantity. Past months are forecast as of their 11th
-- and 21st day, to measure the error.
-- Longer than 200 lines: the months that a correction changes and the day on which it is billed depend on the same scenarios.

with

restated as (

    select * from {{ ref('int_usage__restated') }}

),

closed_periods as (

    select * from {{ ref('int_billing__closed_periods') }}

),

months as (

    select * from {{ ref('int_billing__months') }}

),

granted as (

    select * from {{ ref('int_credits__granted') }}

),

accounts as (

    select * from {{ ref('int_accounts__completed') }}

),

steps as (

    select
        provider,
        billing_account,
        corrected_on,
        min(closed_with_usage_at) as closed_with_usage_at,
        case when corrected_on is null then 2 else 1 end as position
    from restated
    group by provider, billing_account, corrected_on

    union all

    select distinct
        provider,
        billing_account,
        cast(null as date) as corrected_on,
        cast(null as {{ type_utc() }}) as closed_with_usage_at,
        3 as position
    from restated

),

scenarios as (

    select
        steps.*,
        lag(corrected_on) over (partition by provider, billing_account order by position, corrected_on) as last_corrected_on,
        lag(closed_with_usage_at) over (
            partition by provider, billing_account order by position, corrected_on
        ) as last_closed_with_usage_at,
        lag(position) over (partition by provider, billing_account order by position, corrected_on) as last_position
    from steps

),

-- Without credits, a restatement changes its own month only: tiers and minimums start anew with each month.
with_credits as (

    select distinct
        provider,
        billing_account
    from granted

),

restated_or_with_credits as (

    select
        provider,
        billing_account,
        billing_month
    from restated

    union all

    select
        months.provider,
        months.billing_account,
        months.billing_month
    from months
    inner join with_credits
        on months.provider = with_credits.provider
        and months.billing_account = with_credits.billing_account
    inner join scenarios
        on months.provider = scenarios.provider
        and months.billing_account = scenarios.billing_account
        and scenarios.position = 3

),

last_corrections as (

    select
        provider,
        billing_account,
        max(corrected_on) as corrected_on
    from steps
    group by provider, billing_account

),

-- A correction is billed after the month that it corrects, and after the corrections that are closed.
affected as (

    select distinct
        restated.provider,
        restated.billing_account,
        restated.billing_month,
        greatest(
            cast({{ later('month', 1, 'restated.billing_month') }} as date),
            coalesce(cast({{ later('day', 1, 'last_corrections.corrected_on') }} as date), restated.billing_month)
        ) as first_day
    from restated_or_with_credits as restated
    inner join last_corrections
        on restated.provider = last_corrections.provider
        and restated.billing_account = last_corrections.billing_account

),

restated_meters as (

    select distinct
        provider,
        billing_account,
        meter
    from restated

),

-- A correction may be billed in a period that is closed only for other meters.
periods as (

    select distinct
        closed_periods.provider,
        closed_periods.billing_account,
        closed_periods.period_start,
        closed_periods.period_end,
        true as is_closed
    from closed_periods
    inner join restated_meters
        on closed_periods.provider = restated_meters.provider
        and closed_periods.billing_account = restated_meters.billing_account
        and closed_periods.meter in ('', restated_meters.meter)

),

-- A correction is billed on the first open day after the closed month.
days_to_land as (

    select
        provider,
        billing_account,
        billing_month,
        first_day as day
    from affected

    union all

    select
        affected.provider,
        affected.billing_account,
        affected.billing_month,
        periods.period_end as day
    from affected
    inner join periods
        on affected.provider = periods.provider
        and affected.billing_account = periods.billing_account
        and periods.period_end > affected.first_day

),

open_days as (

    select
        days_to_land.provider,
        days_to_land.billing_account,
        days_to_land.billing_month,
        min(days_to_land.day) as day
    from days_to_land
    left join periods
        on days_to_land.provider = periods.provider
        and days_to_land.billing_account = periods.billing_account
        and days_to_land.day >= periods.period_start
        and days_to_land.day < periods.period_end
    where periods.is_closed is null
    group by days_to_land.provider, days_to_land.billing_account, days_to_land.billing_month

),

closed_months as (

    select distinct
        provider,
        billing_account,
        cast({{ dbt.date_trunc('month', 'period_start') }} as date) as billing_month,
        true as is_closed
    from closed_periods

),

landed as (

    select
        affected.provider,
        affected.billing_account,
        affected.billing_month,
        cast({{ later('month', 1, 'affected.billing_month') }} as date) as next_month,
        case
            when scenarios.position = 3 then 'computed'
            when scenarios.last_corrected_on is null then 'billed'
            else {{ dbt.concat(["'corrected '", date_text('scenarios.last_corrected_on')]) }}
        end as scenario,
        scenarios.position,
        scenarios.corrected_on,
        case
            when scenarios.position = 1 then scenarios.corrected_on
            when scenarios.position = 2 then open_days.day
        end as subtracts_on,
        case
            when scenarios.last_position = 1 then scenarios.last_corrected_on
            when scenarios.last_position = 2 then open_days.day
        end as adds_on,
        case when scenarios.position = 1 then scenarios.closed_with_usage_at end as subtracted_until,
        case when scenarios.last_position = 1 then scenarios.last_closed_with_usage_at end as added_until,
        closed_months.is_closed
    from affected
    inner join scenarios
        on affected.provider = scenarios.provider
        and affected.billing_account = scenarios.billing_account
    inner join open_days
        on affected.provider = open_days.provider
        and affected.billing_account = open_days.billing_account
        and affected.billing_month = open_days.billing_month
    left join closed_months
        on affected.provider = closed_months.provider
        and affected.billing_account = closed_months.billing_account
        and affected.billing_month = closed_months.billing_month

),

running_months as (

    select distinct
        provider,
        billing_account,
        cast({{ dbt.date_trunc('month', 'complete_before_billing_date') }} as date) as billing_month
    from accounts
    where complete_before_billing_date is not null

),

forecast_months as (

    select
        provider,
        billing_account,
        billing_month,
        0 as known_days
    from running_months

    {%- for known_days in [10, 20] %}

    union all

    select
        months.provider,
        months.billing_account,
        months.billing_month,
        {{ known_days }} as known_days
    from months
    inner join running_months
        on months.provider = running_months.provider
        and months.billing_account = running_months.billing_account
    where months.is_complete
    group by months.provider, months.billing_account, months.billing_month
    having
        months.billing_month
        >= cast({{ later('month', -var('forecast_backtest_months'), 'max(running_months.billing_month)') }} as date)
    {%- endfor %}

),

forecasts as (

    {% for forecast in ['expected', 'low', 'high'] -%}
    select
        {{ dbt.concat([
            "'forecast '", date_text('billing_month'), "' after '", 'cast(known_days as ' ~ dbt.type_string() ~ ')',
            "' days, " ~ forecast ~ "'",
        ]) }} as scenario,
        provider,
        billing_account,
        billing_month,
        '{{ forecast }}' as forecast,
        known_days
    from forecast_months
    {%- if not loop.last %}
    union all
    {% endif -%}
    {%- endfor %}

),

-- A correction billed before a month is part of all its charges. A correction billed within the month is part only of the
-- charges from that day on.
final as (

    select
        cast(scenario as {{ dbt.type_string() }}) as scenario,
        provider,
        billing_account,
        billing_month,
        corrected_on,
        cast(case when adds_on >= next_month then adds_on end as date) as adds_on,
        cast(case when subtracts_on >= next_month then subtracts_on end as date) as subtracts_on,
        cast(case when adds_on < next_month then adds_on end as date) as added_within_month_on,
        cast(case when subtracts_on < next_month then subtracts_on end as date) as subtracted_within_month_on,
        subtracted_until,
        added_until,
        case
            when is_closed
                then (adds_on is null or adds_on < next_month) and (position = 3 or subtracts_on >= next_month)
            else position = 3
        end as is_billed,
        cast(null as {{ dbt.type_string() }}) as forecast,
        cast(null as integer) as known_days
    from landed

    union all

    select
        cast(scenario as {{ dbt.type_string() }}) as scenario,
        provider,
        billing_account,
        billing_month,
        cast(null as date) as corrected_on,
        cast(null as date) as adds_on,
        cast(null as date) as subtracts_on,
        cast(null as date) as added_within_month_on,
        cast(null as date) as subtracted_within_month_on,
        cast(null as {{ type_utc() }}) as subtracted_until,
        cast(null as {{ type_utc() }}) as added_until,
        false as is_billed,
        cast(forecast as {{ dbt.type_string() }}) as forecast,
        cast(known_days as integer) as known_days
    from forecasts

)

select * from final
