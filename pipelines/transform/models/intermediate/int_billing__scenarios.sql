-- One row per provider, billing account, billing month and scenario that rates the month. The scenario `computed`, which
-- rates all months with the current quantities, has no rows. Only months that a restatement may change, and months that are
-- forecast, have rows. `billed <n>` has the quantities before the restatements of interval `n` of `int_usage__restated`. The
-- charges of a closed period are those of the scenario of the time when it closed. A correction is the difference between
-- two scenarios. A forecast rates a month three times: with the expected, a low and a high quantity. Past months are
-- forecast as of their 11th and 21st day, to measure the error.
-- Longer than 200 lines: it lists the scenarios of closing and of forecasts.

with

restated as (

    select * from {{ ref('int_usage__restated') }}

),

closed_periods as (

    select * from {{ ref('int_billing__closed_periods') }}
    where reopened_at is null

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

intervals as (

    select
        provider,
        billing_account,
        interval_no,
        closing_at,
        lag(closing_at) over (partition by provider, billing_account order by interval_no) as previous_closing_at
    from restated
    group by provider, billing_account, interval_no, closing_at

),

with_credits as (

    select distinct
        provider,
        billing_account
    from granted

),

-- Without credits, a restatement changes its own month only: tiers and minimums start anew with each month.
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

),

affected_months as (

    select distinct * from restated_or_with_credits

),

month_ends as (

    select
        provider,
        billing_account,
        cast({{ dbt.date_trunc('month', 'period_start') }} as date) as billing_month,
        closed_at,
        row_number() over (
            partition by provider, billing_account, cast({{ dbt.date_trunc('month', 'period_start') }} as date)
            order by period_end desc, closed_at
        ) = 1 as is_end
    from closed_periods

),

billed as (

    select
        affected_months.provider,
        affected_months.billing_account,
        affected_months.billing_month,
        {{ dbt.concat(["'billed '", 'cast(intervals.interval_no as ' ~ dbt.type_string() ~ ')']) }} as scenario,
        intervals.interval_no,
        intervals.closing_at,
        intervals.previous_closing_at,
        month_ends.closed_at >= coalesce(intervals.previous_closing_at, month_ends.closed_at)
            and month_ends.closed_at < coalesce(intervals.closing_at, {{ event_time() }}) as is_billed
    from affected_months
    inner join intervals
        on affected_months.provider = intervals.provider
        and affected_months.billing_account = intervals.billing_account
    left join month_ends
        on affected_months.provider = month_ends.provider
        and affected_months.billing_account = month_ends.billing_account
        and affected_months.billing_month = month_ends.billing_month
        and month_ends.is_end

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

final as (

    select
        cast(scenario as {{ dbt.type_string() }}) as scenario,
        provider,
        billing_account,
        billing_month,
        cast(interval_no as integer) as interval_no,
        closing_at,
        previous_closing_at,
        coalesce(is_billed, false) as is_billed,
        cast(null as {{ dbt.type_string() }}) as forecast,
        cast(null as integer) as known_days
    from billed

    union all

    select
        cast(scenario as {{ dbt.type_string() }}) as scenario,
        provider,
        billing_account,
        billing_month,
        cast(null as integer) as interval_no,
        cast(null as {{ type_utc() }}) as closing_at,
        cast(null as {{ type_utc() }}) as previous_closing_at,
        false as is_billed,
        cast(forecast as {{ dbt.type_string() }}) as forecast,
        cast(known_days as integer) as known_days
    from forecasts

)

select * from final
