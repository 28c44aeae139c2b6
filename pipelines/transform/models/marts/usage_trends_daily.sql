-- One row per provider, account, meter and date, for every date from the account's first day of usage to the last loaded
-- day.
-- A requested day without usage is a zero; a day that no run requested is a gap. Gaps and running days are left out of every
-- average, comparison and baseline. Every window spans one meter of one account. Averages, fractions and scores are rounded
-- to 6 decimals, so that all engines agree.
-- Longer than 200 lines: its averages and deviations need ten window functions.

{%- set series = 'partition by provider, account, meter order by date' %}
{%- set last_7 = series ~ ' rows between 6 preceding and current row' %}
{%- set last_28 = series ~ ' rows between 27 preceding and current row' %}
{%- set before = series ~ ' rows between 28 preceding and 1 preceding' %}
{%- set month_to_date = 'partition by provider, account, meter, month order by date rows between unbounded preceding and current row' %}

with

usage_daily as (

    select * from {{ ref('usage_daily') }}

),

days as (

    select * from {{ ref('int_days__covered') }}

),

calendar as (

    {{ calendar() }}

),

accounts as (

    select
        provider,
        account,
        min(date) as first_date
    from usage_daily
    group by provider, account

),

meters as (

    select
        provider,
        account,
        meter,
        {{ metered_table('provider', 'meter') }} as resource,
        max(unit) as unit,
        max(date) as last_date
    from usage_daily
    group by provider, account, meter

),

loaded as (

    select
        provider,
        account,
        resource,
        max(date) as last_date
    from days
    group by provider, account, resource

),

series as (

    select
        meters.provider,
        meters.account,
        meters.meter,
        meters.resource,
        meters.unit,
        accounts.first_date,
        greatest(meters.last_date, coalesce(loaded.last_date, meters.last_date)) as last_date
    from meters
    inner join accounts
        on meters.provider = accounts.provider
        and meters.account = accounts.account
    left join loaded
        on meters.provider = loaded.provider
        and meters.account = loaded.account
        and meters.resource = loaded.resource

),

spined as (

    select
        series.provider,
        series.account,
        series.meter,
        calendar.date,
        calendar.month,
        calendar.date_a_month_before,
        series.unit,
        case
            when usage_daily.date is not null then usage_daily.quantity
            when days.is_fetched and not days.is_in_longer_bucket then cast(0 as numeric(28, 9))
        end as quantity,
        case
            when days.is_in_longer_bucket then false
            when usage_daily.date is not null then usage_daily.is_complete
            else coalesce(days.is_complete, false)
        end as is_complete
    from series
    inner join calendar
        on calendar.date between series.first_date and series.last_date
    left join usage_daily
        on series.provider = usage_daily.provider
        and series.account = usage_daily.account
        and series.meter = usage_daily.meter
        and calendar.date = usage_daily.date
    left join days
        on series.provider = days.provider
        and series.account = days.account
        and series.resource = days.resource
        and calendar.date = days.date

),

completed as (

    select
        *,
        case when is_complete then quantity end as complete_quantity
    from spined

),

windowed as (

    select
        *,
        sum(complete_quantity) over ({{ last_7 }}) as sum_7d,
        count(complete_quantity) over ({{ last_7 }}) as average_7d_days,
        sum(complete_quantity) over ({{ last_28 }}) as sum_28d,
        count(complete_quantity) over ({{ last_28 }}) as average_28d_days,
        lag(complete_quantity, 7) over ({{ series }}) as quantity_a_week_before,
        sum(quantity) over ({{ month_to_date }}) as month_to_date,
        count(complete_quantity) over ({{ month_to_date }}) as month_to_date_days,
        count(complete_quantity) over ({{ before }}) as baseline_days,
        sum(complete_quantity) over ({{ before }}) as baseline_sum,
        stddev_samp(complete_quantity) over ({{ before }}) as baseline_stddev
    from completed

),

compared as (

    select
        windowed.*,
        {{ divided('windowed.baseline_sum', 'windowed.baseline_days') }} as baseline_mean,
        month_before.complete_quantity as quantity_a_month_before
    from windowed
    left join completed as month_before
        on windowed.provider = month_before.provider
        and windowed.account = month_before.account
        and windowed.meter = month_before.meter
        and windowed.date_a_month_before = month_before.date

),

-- Constant usage has no deviation to measure by, and the smallest change would be an anomaly.
scored as (

    select
        *,
        case
            when baseline_days >= {{ var('anomaly_min_days') }} then round(
                {{ as_statistic('complete_quantity - baseline_mean') }} / nullif(greatest(
                    baseline_stddev,
                    {{ as_statistic('abs(baseline_mean)') }} * {{ var('anomaly_floor_share') }},
                    {{ var('anomaly_floor_units') }}
                ), 0), 6
            )
        end as anomaly_score
    from compared

),

final as (

    select
        provider,
        account,
        meter,
        date,
        cast(quantity as numeric(28, 9)) as quantity,
        unit,
        is_complete,
        quantity is null as is_gap,
        {{ divided('sum_7d', 'average_7d_days', 6) }} as average_7d,
        cast(average_7d_days as integer) as average_7d_days,
        {{ divided('sum_28d', 'average_28d_days', 6) }} as average_28d,
        cast(average_28d_days as integer) as average_28d_days,
        {{ divided('complete_quantity - quantity_a_week_before', 'quantity_a_week_before', 6) }} as week_over_week,
        {{ divided('complete_quantity - quantity_a_month_before', 'quantity_a_month_before', 6) }} as month_over_month,
        cast(month_to_date as numeric(28, 9)) as month_to_date,
        cast(month_to_date_days as integer) as month_to_date_days,
        cast(anomaly_score as numeric(28, 9)) as anomaly_score,
        coalesce(abs(anomaly_score) > {{ var('anomaly_threshold') }}, false) as is_anomaly
    from scored

)

select * from final
