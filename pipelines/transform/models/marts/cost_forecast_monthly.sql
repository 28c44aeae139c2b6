-- One row per provider, billing account, account, billing month and currency.
-- For past months it is their cost. For the running month it is the cost billed so far plus the remaining days as
-- `int_cost__forecasted` expects them; `int_cost__backtested` shows the error of such forecasts in the past.

with

cost_monthly as (

    select * from {{ ref('cost_monthly') }}

),

accounts as (

    select * from {{ ref('int_accounts__completed') }}

),

forecasts as (

    select * from {{ ref('int_cost__forecasted') }}
    where is_running

),

monthly as (

    select
        provider,
        billing_account,
        account,
        billing_month,
        currency,
        sum(billed_cost) as billed_cost,
        min(case when is_complete then 1 else 0 end) as is_final
    from cost_monthly
    group by provider, billing_account, account, billing_month, currency

),

-- On the first of a month nothing is billed yet, but the month has a forecast.
months as (

    select
        provider,
        billing_account,
        account,
        billing_month,
        currency,
        billed_cost,
        is_final
    from monthly

    union all

    select
        forecasts.provider,
        accounts.billing_account,
        forecasts.account,
        forecasts.billing_month,
        forecasts.currency,
        0 as billed_cost,
        1 as is_final
    from forecasts
    inner join accounts
        on forecasts.provider = accounts.provider
        and forecasts.account = accounts.account

),

totals as (

    select
        provider,
        billing_account,
        account,
        billing_month,
        currency,
        sum(billed_cost) as cost_to_date,
        min(is_final) = 1 as is_final
    from months
    group by provider, billing_account, account, billing_month, currency

),

described as (

    select
        totals.provider,
        totals.billing_account,
        totals.account,
        totals.billing_month,
        totals.currency,
        totals.cost_to_date,
        totals.is_final and forecasts.billing_month is null as is_final,
        coalesce(totals.billing_month < accounts.complete_from_billing_date, false) as is_cut,
        accounts.complete_before_billing_date as as_of_date,
        coalesce(forecasts.remaining_days, 0) as remaining_days,
        forecasts.learned_days,
        forecasts.expected_cost,
        forecasts.billed_cost,
        forecasts.deviation,
        case
            when accounts.provider is null then 'charged as a whole'
            when totals.is_final and forecasts.billing_month is null then 'final'
            when forecasts.expected_cost is not null and forecasts.fallback_days > 0 then 'average of all days'
            when forecasts.expected_cost is not null then 'averages of weekdays'
            when {{ later('month', 1, 'totals.billing_month') }} <= accounts.complete_before_billing_date
                then 'over, not loaded whole'
            when forecasts.remaining_days is null then 'no cost by the day'
            else 'too few days'
        end as basis
    from totals
    left join accounts
        on totals.provider = accounts.provider
        and totals.account = accounts.account
    left join forecasts
        on totals.provider = forecasts.provider
        and totals.account = forecasts.account
        and totals.billing_month = forecasts.billing_month
        and totals.currency = forecasts.currency

),

forecast as (

    select
        *,
        case
            when basis in ('averages of weekdays', 'average of all days')
                then greatest(cost_to_date - billed_cost + expected_cost, cost_to_date)
            when basis in ('final', 'charged as a whole', 'over, not loaded whole') then cost_to_date
        end as forecast,
        case when basis in ('averages of weekdays', 'average of all days') then deviation else 0 end as spread
    from described

),

final as (

    select
        provider,
        billing_account,
        account,
        billing_month,
        currency,
        cast(cost_to_date as numeric(28, 9)) as cost_to_date,
        cast(forecast as numeric(28, 9)) as forecast,
        cast(case
            when forecast is not null
                then greatest(forecast - {{ var('forecast_deviations') }} * spread, cost_to_date)
        end as numeric(28, 9)) as forecast_low,
        cast(forecast + {{ var('forecast_deviations') }} * spread as numeric(28, 9)) as forecast_high,
        is_final,
        is_cut,
        as_of_date,
        remaining_days,
        cast(coalesce(learned_days, 0) as integer) as learned_days,
        cast(basis as {{ dbt.type_string() }}) as basis
    from forecast

)

select * from final
