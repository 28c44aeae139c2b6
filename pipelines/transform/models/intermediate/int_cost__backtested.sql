-- One row per provider, account, currency, final billing month, and number of its days that were known: the forecast as of
-- then, and its error. Charges without a day, such as fees, count as known.

with

forecasts as (

    select * from {{ ref('int_cost__forecasted') }}
    where not is_running

),

cost_daily as (

    select * from {{ ref('cost_daily') }}

),

cost_monthly as (

    select * from {{ ref('cost_monthly') }}

),

monthly as (

    select
        provider,
        account,
        currency,
        billing_month,
        sum(billed_cost) as cost
    from cost_monthly
    group by provider, account, currency, billing_month

),

later as (

    select
        forecasts.provider,
        forecasts.account,
        forecasts.currency,
        forecasts.billing_month,
        forecasts.as_of_date,
        sum(cost_daily.billed_cost) as billed_cost
    from forecasts
    inner join cost_daily
        on forecasts.provider = cost_daily.provider
        and forecasts.account = cost_daily.account
        and forecasts.currency = cost_daily.currency
        and cost_daily.date >= forecasts.as_of_date
        and cost_daily.date < {{ later('month', 1, 'forecasts.billing_month') }}
    group by
        forecasts.provider, forecasts.account, forecasts.currency, forecasts.billing_month, forecasts.as_of_date

),

joined as (

    select
        forecasts.*,
        monthly.cost,
        monthly.cost - coalesce(later.billed_cost, 0) as known_cost
    from forecasts
    inner join monthly
        on forecasts.provider = monthly.provider
        and forecasts.account = monthly.account
        and forecasts.currency = monthly.currency
        and forecasts.billing_month = monthly.billing_month
    left join later
        on forecasts.provider = later.provider
        and forecasts.account = later.account
        and forecasts.currency = later.currency
        and forecasts.as_of_date = later.as_of_date

),

final as (

    select
        provider,
        account,
        billing_month,
        currency,
        cast({{ dbt.datediff('billing_month', 'as_of_date', 'day') }} as integer) as known_days,
        cast(known_cost as numeric(28, 9)) as known_cost,
        cast(known_cost + expected_cost as numeric(28, 9)) as forecast,
        cast(case
            when expected_cost is not null
                then greatest(known_cost + expected_cost - {{ var('forecast_deviations') }} * deviation, known_cost)
        end as numeric(28, 9)) as forecast_low,
        cast(known_cost + expected_cost + {{ var('forecast_deviations') }} * deviation as numeric(28, 9)) as forecast_high,
        cast(cost as numeric(28, 9)) as cost,
        {{ divided('known_cost + expected_cost - cost', 'cost', 6) }} as relative_error
    from joined

)

select * from final
