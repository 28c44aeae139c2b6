-- One row per provider, account, currency, billing month and day as of which the rest of the month is forecast.
-- For the running month that day is today, the first day that is not complete. Each past month has two: its 11th and its
-- 21st, when 10 and 20 days were known. The forecast of a future day is the average cost of the account's days of that
-- weekday in the 8 weeks before. For a day that has begun it is that average or the cost billed so far, whichever is more.
-- The deviations of the days are added up instead of their variances. A busier month is busier on all of its days: variances
-- of independent days would promise far more precision than the backtests of a year show.
-- Longer than 200 lines: past months are forecast by the same steps as the running month, so that they can test it.

{%- set days_needed = var('forecast_min_days') %}
{%- set weekdays_needed = var('forecast_min_days_of_weekday') %}

with

cost_daily as (

    select * from {{ ref('cost_daily') }}

),

cost_monthly as (

    select * from {{ ref('cost_monthly') }}

),

accounts as (

    select * from {{ ref('int_accounts__completed') }}

),

days as (

    select * from {{ ref('int_days__covered') }}

),

calendar as (

    {{ calendar() }}

),

-- Usage only: a fee or credit of the billing account comes once, on any weekday.
daily as (

    select
        provider,
        account,
        currency,
        date,
        sum(billed_cost) as billed_cost
    from cost_daily
    where account <> ''
    group by provider, account, currency, date

),

firsts as (

    select
        provider,
        account,
        currency,
        min(date) as first_date
    from daily
    group by provider, account, currency

),

monthly as (

    select
        provider,
        account,
        currency,
        billing_month,
        min(case when is_complete then 1 else 0 end) = 1 as is_final
    from cost_monthly
    group by provider, account, currency, billing_month

),

points as (

    select
        firsts.provider,
        firsts.account,
        firsts.currency,
        cast({{ dbt.date_trunc('month', 'accounts.complete_before_billing_date') }} as date) as billing_month,
        accounts.complete_before_billing_date as as_of_date,
        true as is_running
    from firsts
    inner join accounts
        on firsts.provider = accounts.provider
        and firsts.account = accounts.account

    {% for known_days in [10, 20] %}
    union all

    select
        provider,
        account,
        currency,
        billing_month,
        cast({{ later('day', known_days, 'billing_month') }} as date) as as_of_date,
        false as is_running
    from monthly
    where is_final
    {% endfor %}

),

bounded_points as (

    select
        points.*,
        firsts.first_date,
        cast({{ later('day', -56, 'points.as_of_date') }} as date) as learned_from,
        cast({{ later('month', 1, 'points.billing_month') }} as date) as next_month
    from points
    inner join firsts
        on points.provider = firsts.provider
        and points.account = firsts.account
        and points.currency = firsts.currency

),

complete_days as (

    select
        days.provider,
        days.account,
        days.date,
        calendar.weekday
    from days
    inner join calendar
        on days.date = calendar.date
    where
        days.is_complete
        and not days.is_in_longer_bucket
        and {{ is_priced_table('days.provider', 'days.resource') }}

),

-- A complete day without a charge cost nothing, unless it is before the account's first charge.
learned as (

    select
        points.provider,
        points.account,
        points.currency,
        points.as_of_date,
        complete_days.weekday,
        coalesce(daily.billed_cost, 0) as billed_cost
    from bounded_points as points
    inner join complete_days
        on points.provider = complete_days.provider
        and points.account = complete_days.account
        and complete_days.date >= points.learned_from
        and complete_days.date >= points.first_date
        and complete_days.date < points.as_of_date
    left join daily
        on points.provider = daily.provider
        and points.account = daily.account
        and points.currency = daily.currency
        and complete_days.date = daily.date

),

overall as (

    select
        provider,
        account,
        currency,
        as_of_date,
        count(*) as days,
        {{ divided('sum(billed_cost)', 'count(*)') }} as mean,
        var_samp(billed_cost) as variance
    from learned
    group by provider, account, currency, as_of_date

),

by_weekday as (

    select
        provider,
        account,
        currency,
        as_of_date,
        weekday,
        count(*) as days,
        {{ divided('sum(billed_cost)', 'count(*)') }} as mean,
        var_samp(billed_cost) as variance
    from learned
    group by provider, account, currency, as_of_date, weekday

),

remaining as (

    select
        points.provider,
        points.account,
        points.currency,
        points.billing_month,
        points.as_of_date,
        points.is_running,
        calendar.date,
        overall.days as learned_days,
        case when coalesce(by_weekday.days, 0) >= {{ weekdays_needed }} then 0 else 1 end as is_fallback,
        case when by_weekday.days >= {{ weekdays_needed }} then by_weekday.mean else overall.mean end as mean,
        case when by_weekday.days >= {{ weekdays_needed }} then by_weekday.variance else overall.variance end as variance,
        case when points.is_running then coalesce(daily.billed_cost, 0) else 0 end as billed_cost
    from bounded_points as points
    inner join calendar
        on calendar.date >= points.as_of_date
        and calendar.date < points.next_month
    left join overall
        on points.provider = overall.provider
        and points.account = overall.account
        and points.currency = overall.currency
        and points.as_of_date = overall.as_of_date
        and overall.days >= {{ days_needed }}
    left join by_weekday
        on points.provider = by_weekday.provider
        and points.account = by_weekday.account
        and points.currency = by_weekday.currency
        and points.as_of_date = by_weekday.as_of_date
        and calendar.weekday = by_weekday.weekday
        and overall.days is not null
    left join daily
        on points.provider = daily.provider
        and points.account = daily.account
        and points.currency = daily.currency
        and calendar.date = daily.date

),

summed as (

    select
        provider,
        account,
        currency,
        billing_month,
        as_of_date,
        is_running,
        count(*) as remaining_days,
        max(learned_days) as learned_days,
        sum(is_fallback) as fallback_days,
        sum(billed_cost) as billed_cost,
        sum(case when mean is null then null else greatest(mean, billed_cost, 0) end) as expected_cost,
        sum(sqrt(variance)) as deviation
    from remaining
    group by provider, account, currency, billing_month, as_of_date, is_running

),

final as (

    select
        provider,
        account,
        currency,
        billing_month,
        as_of_date,
        is_running,
        cast(remaining_days as integer) as remaining_days,
        cast(coalesce(learned_days, 0) as integer) as learned_days,
        cast(fallback_days as integer) as fallback_days,
        cast(billed_cost as numeric(28, 9)) as billed_cost,
        cast(round(expected_cost, 6) as numeric(28, 9)) as expected_cost,
        cast(round(deviation, 6) as numeric(28, 9)) as deviation
    from summed

)

select * from final
