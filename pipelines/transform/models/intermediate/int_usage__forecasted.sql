-- One row per forecast scenario, billed meter and day of the month. A known day has its usage; any other day has the average of
-- its weekday in the 8 weeks before. These quantities are rated like loaded usage, so a forecast has the tiers, credits, fees
-- and minimums of a bill. In a past month, the days between two changes of a price or a grant are one row: the bill is the same,
-- and rating takes much less time.
-- The highest and the lowest day of each weekday are left out, so that no spike or outage is repeated. A factor adjusts the
-- averages to the last 14 days, and so follows growth and seasons. A meter without any usage in these days has no forecast.
-- The range adds up the deviations of the days, not their variances: in a busy month all days are busy. Variances of independent
-- days would give a range that is far too narrow, as backtests show.
-- Longer than 200 lines: the averages of weekdays, those of all days, and the level are computed from the same days.

{{ config(pre_hook="{{ hash_joins() }}") }}

{%- set days_needed = var('forecast_min_days') %}
{%- set weekdays_needed = var('forecast_min_days_of_weekday') %}
{%- set series = 'provider, account, as_of_date, meter' %}
{%- set a_monday = "cast('2018-01-01' as date)" %}

with

metered_usage as (

    select * from {{ ref('int_usage__metered') }}
    where is_billed and sku_id is not null

),

scenarios as (

    select * from {{ ref('int_billing__scenarios') }}
    where forecast is not null

),

accounts as (

    select * from {{ ref('int_accounts__completed') }}

),

days as (

    select * from {{ ref('int_days__covered') }}

),

numbers as (

    {% for number in range(31) -%}
    select {{ number }} as number
    {%- if not loop.last %}
    union all
    {% endif -%}
    {%- endfor %}

),

changing_dates as (

    select provider, valid_from as date from {{ ref('int_prices__tiers') }}
    union all
    select provider, valid_to as date from {{ ref('int_prices__tiers') }} where valid_to is not null
    union all
    select provider, starts_on as date from {{ ref('int_credits__granted') }}
    union all
    select provider, expires_on as date from {{ ref('int_credits__granted') }} where expires_on is not null

),

daily as (

    select
        provider,
        billing_account,
        account,
        meter,
        billing_date as date,
        max(sku_id) as sku_id,
        max(highest_priced_sku_id) as highest_priced_sku_id,
        max(unit) as unit,
        max(case when timespan in ('hour', 'day') then 1 else 0 end) as is_dated,
        sum(quantity) as quantity
    from metered_usage
    group by provider, billing_account, account, meter, billing_date

),

-- The usage of a week or month has no day, so its meter cannot be forecast by the day.
meters as (

    select
        provider,
        account,
        meter,
        {{ metered_table('provider', 'meter') }} as resource,
        max(sku_id) as sku_id,
        max(highest_priced_sku_id) as highest_priced_sku_id,
        max(unit) as unit,
        min(date) as first_date
    from daily
    where is_dated = 1
    group by provider, account, meter

),

months as (

    select distinct
        provider,
        billing_account,
        billing_month,
        cast({{ later('month', 1, 'billing_month') }} as date) as next_month,
        known_days
    from scenarios

),

-- In a past month, the first unknown day is the 11th or 21st. In the running month, it is the account's first day that is
-- not complete. An account whose last complete day is in an earlier month has no forecast.
points as (

    select
        months.*,
        accounts.account,
        case
            when months.known_days > 0 then cast({{ later('day', 'months.known_days', 'months.billing_month') }} as date)
            when accounts.complete_before_billing_date < months.billing_month then months.next_month
            else least(accounts.complete_before_billing_date, months.next_month)
        end as as_of_date
    from months
    inner join accounts
        on months.provider = accounts.provider
        and months.billing_account = accounts.billing_account
    where accounts.complete_before_billing_date is not null

),

forecast_points as (

    select
        *,
        cast({{ later('day', -56, 'as_of_date') }} as date) as learned_from
    from points
    where as_of_date < next_month

),

-- A complete day without a row used nothing, unless it is before the first use of the meter.
learned as (

    select
        points.provider,
        points.account,
        points.as_of_date,
        meters.meter,
        days.date,
        mod({{ dbt.datediff(a_monday, 'days.date', 'day') }}, 7) as weekday,
        coalesce(daily.quantity, 0) as quantity
    from forecast_points as points
    inner join meters
        on points.provider = meters.provider
        and points.account = meters.account
    inner join days
        on meters.provider = days.provider
        and meters.account = days.account
        and meters.resource = days.resource
        and days.is_complete
        and not days.is_in_longer_bucket
        and days.date >= points.learned_from
        and days.date >= meters.first_date
        and days.date < points.as_of_date
    left join daily
        on meters.provider = daily.provider
        and meters.account = daily.account
        and meters.meter = daily.meter
        and days.date = daily.date

),

ranked as (

    select
        *,
        row_number() over (partition by {{ series }}, weekday order by quantity, date) as position_of_weekday,
        count(*) over (partition by {{ series }}, weekday) as days_of_weekday,
        row_number() over (partition by {{ series }} order by quantity, date) as position,
        count(*) over (partition by {{ series }}) as days
    from learned

),

by_weekday as (

    select
        {{ series }},
        weekday,
        {{ divided('sum(quantity)', 'count(*)') }} as average,
        var_samp(quantity) as variance
    from ranked
    where
        days_of_weekday >= {{ weekdays_needed }}
        and position_of_weekday > 1
        and position_of_weekday < days_of_weekday
    group by {{ series }}, weekday

),

overall as (

    select
        {{ series }},
        max(days) as days,
        {{ divided('sum(quantity)', 'count(*)') }} as average,
        var_samp(quantity) as variance
    from ranked
    where days < {{ weekdays_needed }} or (position > 1 and position < days)
    group by {{ series }}

),

recent as (

    select
        ranked.provider,
        ranked.account,
        ranked.as_of_date,
        ranked.meter,
        ranked.date,
        ranked.quantity,
        coalesce(by_weekday.average, overall.average) as average
    from ranked
    inner join overall
        on ranked.provider = overall.provider
        and ranked.account = overall.account
        and ranked.as_of_date = overall.as_of_date
        and ranked.meter = overall.meter
    left join by_weekday
        on ranked.provider = by_weekday.provider
        and ranked.account = by_weekday.account
        and ranked.as_of_date = by_weekday.as_of_date
        and ranked.meter = by_weekday.meter
        and ranked.weekday = by_weekday.weekday
    where ranked.date >= cast({{ later('day', -14, 'ranked.as_of_date') }} as date)

),

compared as (

    select
        *,
        row_number() over (
            partition by {{ series }}, average > 0
            order by {{ as_statistic('quantity') }} / nullif({{ as_statistic('average') }}, 0), date
        ) as position,
        count(*) over (partition by {{ series }}, average > 0) as days
    from recent

),

levels as (

    select
        {{ series }},
        case
            when max(quantity) = 0 then 0
            when max(case when average > 0 then days else 0 end) >= {{ days_needed }} then greatest(least({{ divided(
                'sum(case when average > 0 and position > 1 and position < days then quantity end)',
                'sum(case when average > 0 and position > 1 and position < days then average end)',
            ) }}, 2), 0.5)
        end as level
    from compared
    group by {{ series }}
    having count(*) >= {{ days_needed }}

),

remaining_dates as (

    select
        points.*,
        cast({{ later('day', 'numbers.number', 'points.as_of_date') }} as date) as date,
        mod({{ dbt.datediff(a_monday, 'points.as_of_date', 'day') }} + numbers.number, 7) as weekday
    from forecast_points as points
    inner join numbers
        on numbers.number < {{ dbt.datediff('points.as_of_date', 'points.next_month', 'day') }}

),

-- A day that has begun uses at least what it has used so far.
remaining as (

    select
        points.provider,
        points.billing_account,
        points.account,
        points.billing_month,
        points.known_days,
        meters.meter,
        meters.sku_id,
        meters.highest_priced_sku_id,
        meters.unit,
        points.date,
        coalesce(overall.days, 0) as learned_days,
        by_weekday.average is null as is_fallback,
        coalesce(levels.level, 1) as level,
        coalesce(by_weekday.average, overall.average, 0) as average,
        sqrt(coalesce(case when by_weekday.average is null then overall.variance else by_weekday.variance end, 0)) as deviation,
        case when points.known_days = 0 then greatest(coalesce(daily.quantity, 0), 0) else 0 end as used
    from remaining_dates as points
    inner join meters
        on points.provider = meters.provider
        and points.account = meters.account
        and (points.known_days = 0 or points.as_of_date > meters.first_date)
    left join overall
        on points.provider = overall.provider
        and points.account = overall.account
        and points.as_of_date = overall.as_of_date
        and meters.meter = overall.meter
    left join by_weekday
        on points.provider = by_weekday.provider
        and points.account = by_weekday.account
        and points.as_of_date = by_weekday.as_of_date
        and meters.meter = by_weekday.meter
        and points.weekday = by_weekday.weekday
    left join levels
        on points.provider = levels.provider
        and points.account = levels.account
        and points.as_of_date = levels.as_of_date
        and meters.meter = levels.meter
    left join daily
        on points.provider = daily.provider
        and points.account = daily.account
        and meters.meter = daily.meter
        and points.date = daily.date

),

expected as (

    select
        *,
        cast(round(level * average, 6) as numeric(28, 9)) as quantity,
        cast(
            round({{ var('forecast_deviations') }} * {{ as_statistic('level') }} * deviation, 6) as numeric(28, 9)
        ) as spread
    from remaining

),

{%- set columns = [
    'provider', 'billing_account', 'account', 'billing_month', 'known_days', 'meter', 'sku_id', 'highest_priced_sku_id',
    'unit', 'date',
] %}

unioned as (

    select
        {% for column in columns %}expected.{{ column }},
        {% endfor -%}
        learned_days,
        is_fallback,
        greatest(quantity, used) as expected,
        greatest(quantity - spread, used) as low,
        greatest(quantity + spread, used) as high
    from expected

    union all

    select
        points.provider,
        points.billing_account,
        points.account,
        points.billing_month,
        points.known_days,
        daily.meter,
        daily.sku_id,
        daily.highest_priced_sku_id,
        daily.unit,
        daily.date,
        cast(null as integer) as learned_days,
        false as is_fallback,
        daily.quantity as expected,
        daily.quantity as low,
        daily.quantity as high
    from points
    inner join daily
        on points.provider = daily.provider
        and points.account = daily.account
        and daily.date >= points.billing_month
        and daily.date < points.as_of_date

),

-- The running month has a row per day, a past month a row per span between changes.
spans as (

    select
        *,
        coalesce(
            lead(span_start) over (partition by provider, billing_account, billing_month, known_days order by span_start),
            next_month
        ) as span_end
    from (
        select provider, billing_account, billing_month, known_days, next_month, billing_month as span_start
        from months
        where known_days > 0

        union all

        select distinct
            months.provider,
            months.billing_account,
            months.billing_month,
            months.known_days,
            months.next_month,
            changing_dates.date as span_start
        from months
        inner join changing_dates
            on months.provider = changing_dates.provider
            and months.billing_month < changing_dates.date
            and months.next_month > changing_dates.date
        where months.known_days > 0
    ) as starts

),

{%- set undated = columns | reject('equalto', 'date') | list %}

rated as (

    select
        {{ undated | join(',\n        ') }},
        date,
        learned_days,
        is_fallback,
        expected,
        low,
        high
    from unioned
    where known_days = 0

    union all

    select
        {% for column in undated %}unioned.{{ column }},
        {% endfor -%}
        spans.span_start as date,
        max(unioned.learned_days) as learned_days,
        max(case when unioned.is_fallback then 1 else 0 end) = 1 as is_fallback,
        sum(unioned.expected) as expected,
        sum(unioned.low) as low,
        sum(unioned.high) as high
    from unioned
    inner join spans
        on unioned.provider = spans.provider
        and unioned.billing_account = spans.billing_account
        and unioned.billing_month = spans.billing_month
        and unioned.known_days = spans.known_days
        and unioned.date >= spans.span_start
        and unioned.date < spans.span_end
    group by
        {% for column in undated %}unioned.{{ column }},
        {% endfor -%}
        spans.span_start

),

final as (

    select
        scenarios.scenario,
        {% for column in columns %}rated.{{ column }},
        {% endfor -%}
        cast(
            case scenarios.forecast when 'low' then rated.low when 'high' then rated.high else rated.expected end
            as numeric(28, 9)
        ) as quantity,
        cast(rated.learned_days as integer) as learned_days,
        rated.is_fallback
    from rated
    inner join scenarios
        on rated.provider = scenarios.provider
        and rated.billing_account = scenarios.billing_account
        and rated.billing_month = scenarios.billing_month
        and rated.known_days = scenarios.known_days

)

select * from final
