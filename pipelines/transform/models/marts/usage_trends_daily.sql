-- One row per provider, account, meter and date, for every date from the account's first day of usage to the last loaded
-- day.
-- A requested day without usage is a zero; a day that no run requested is a gap. Gaps and running days are left out of every
-- average, comparison and baseline. Every window spans one meter of one account (`series_no`). Averages, fractions and scores are rounded
-- to 6 decimals, so that all engines agree.
-- The score of a day compares it with the same weekday of the 8 weeks before, by their median and their median absolute
-- deviation, so that one spike neither hides the next nor makes the days after it look low. Eight days may be alike by chance.
-- The deviation is therefore at least the average relative deviation of the last 28 days from the medians of their weekdays.
-- Longer than 200 lines: medians need two rankings, and the averages eight window functions.

{%- set series = 'partition by provider, series_no order by date' %}
{%- set last_7 = series ~ ' rows between 6 preceding and current row' %}
{%- set last_28 = series ~ ' rows between 27 preceding and current row' %}
{%- set month_to_date = 'partition by provider, series_no, month order by date rows between unbounded preceding and current row' %}

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

-- Each series of a provider has a number: windows that partition by three text columns are much slower.
series as (

    select
        row_number() over (partition by meters.provider order by meters.account, meters.meter) as series_no,
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
        series.series_no,
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
        count(complete_quantity) over ({{ month_to_date }}) as month_to_date_days
    from completed

),

weeks as (

    {% for week in range(1, 9) -%}
    select {{ week }} as week
    {%- if not loop.last %}
    union all
    {% endif -%}
    {%- endfor %}

),

-- One row per day and each of its 8 preceding days of the same weekday.
baseline_days as (

    select
        completed.provider,
        completed.series_no,
        cast({{ later('day', '7 * weeks.week', 'completed.date') }} as date) as date,
        weeks.week,
        completed.complete_quantity as quantity
    from completed
    cross join weeks
    where completed.complete_quantity is not null

),

ranked_quantities as (

    select
        *,
        row_number() over (partition by provider, series_no, date order by quantity, week) as position,
        count(*) over (partition by provider, series_no, date) as days
    from baseline_days

),

-- The middle one, or the mean of the middle two.
medians as (

    select
        provider,
        series_no,
        date,
        cast(0.5 * (min(quantity) + max(quantity)) as numeric(28, 9)) as median
    from ranked_quantities
    where days >= {{ var('anomaly_min_weeks') }} and 2 * position between days and days + 2
    group by provider, series_no, date

),

deviations as (

    select
        ranked_quantities.*,
        medians.median,
        abs(ranked_quantities.quantity - medians.median) as deviation
    from ranked_quantities
    inner join medians
        on ranked_quantities.provider = medians.provider
        and ranked_quantities.series_no = medians.series_no
        and ranked_quantities.date = medians.date

),

ranked_deviations as (

    select
        *,
        row_number() over (partition by provider, series_no, date order by deviation, week) as position_of_deviation
    from deviations

),

baselines as (

    select
        provider,
        series_no,
        date,
        max(median) as median,
        cast(0.5 * (min(deviation) + max(deviation)) as numeric(28, 9)) as median_deviation
    from ranked_deviations
    where 2 * position_of_deviation between days and days + 2
    group by provider, series_no, date

),

measured as (

    select
        windowed.*,
        baselines.median,
        baselines.median_deviation,
        -- At most 1: a day that is far off must not raise the average much.
        case
            when baselines.median > 0 and windowed.complete_quantity is not null then least(
                {{ as_statistic('abs(windowed.complete_quantity - baselines.median)') }}
                / {{ as_statistic('baselines.median') }}, 1
            )
        end as relative_deviation
    from windowed
    left join baselines
        on windowed.provider = baselines.provider
        and windowed.series_no = baselines.series_no
        and windowed.date = baselines.date

),

-- Constant usage has no deviation to measure by, and the smallest change would be an anomaly. The factors turn the deviations
-- of normally distributed days into standard deviations.
compared as (

    select
        measured.*,
        greatest(
            1.4826 * measured.median_deviation,
            1.2533 * coalesce(avg(measured.relative_deviation) over (
                partition by measured.provider, measured.series_no
                order by measured.date
                rows between 28 preceding and 1 preceding
            ), 0) * measured.median,
            {{ var('anomaly_floor_share') }} * abs(measured.median),
            {{ var('anomaly_floor_units') }}
        ) as deviation,
        month_before.complete_quantity as quantity_a_month_before
    from measured
    left join completed as month_before
        on measured.provider = month_before.provider
        and measured.series_no = month_before.series_no
        and measured.date_a_month_before = month_before.date

),

scored as (

    select
        *,
        round({{ as_statistic('complete_quantity - median') }} / nullif({{ as_statistic('deviation') }}, 0), 6) as anomaly_score
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
