-- One row per provider, billing account, account, billing month and currency.
-- The forecast of a past month is its cost. For the running month, `int_usage__forecasted` forecasts the usage of the remaining
-- days, which is rated like loaded usage. `int_cost__backtested` shows the error of such forecasts of past months.

with

cost_monthly as (

    select * from {{ ref('cost_monthly') }}

),

accounts as (

    select * from {{ ref('int_accounts__completed') }}

),

forecasted_usage as (

    select * from {{ ref('int_usage__forecasted') }}

),

{{ forecast_costs() }},

-- The days that the forecast of an account is based on. `learned_days` is null for known days.
forecast_accounts as (

    select
        forecasted_usage.provider,
        forecasted_usage.billing_account,
        forecasted_usage.account,
        forecasted_usage.billing_month,
        count(distinct forecasted_usage.date) as remaining_days,
        max(forecasted_usage.learned_days) as learned_days,
        max(case when forecasted_usage.is_fallback then 1 else 0 end) as is_fallback
    from forecasted_usage
    inner join scenarios
        on forecasted_usage.scenario = scenarios.scenario
        and forecasted_usage.provider = scenarios.provider
        and forecasted_usage.billing_account = scenarios.billing_account
    where forecasted_usage.known_days = 0 and scenarios.forecast = 'expected' and forecasted_usage.learned_days is not null
    group by
        forecasted_usage.provider, forecasted_usage.billing_account, forecasted_usage.account,
        forecasted_usage.billing_month

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
        effective_cost,
        case when is_complete then 1 else 0 end as is_final
    from cost_monthly

    union all

    select
        provider,
        billing_account,
        account,
        billing_month,
        currency,
        0 as billed_cost,
        0 as effective_cost,
        0 as is_final
    from forecast_costs
    where known_days = 0 and (billed_high <> 0 or billed_low <> 0 or effective_high <> 0 or effective_low <> 0)

),

totals as (

    select
        provider,
        billing_account,
        account,
        billing_month,
        currency,
        sum(billed_cost) as billed_cost,
        sum(effective_cost) as effective_cost,
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
        totals.billed_cost,
        totals.effective_cost,
        totals.is_final,
        coalesce(totals.billing_month < accounts.complete_from_billing_date, false) as is_cut,
        accounts.complete_before_billing_date as as_of_date,
        coalesce(forecast_accounts.remaining_days, 0) as remaining_days,
        case
            when forecast_accounts.learned_days >= {{ var('forecast_min_days') }} then forecast_accounts.learned_days else 0
        end as learned_days,
        {%- for cost in ['billed', 'effective'] -%}
        {%- for forecast in ['expected', 'low', 'high'] %}
        coalesce(forecast_costs.{{ cost }}_{{ forecast }}, 0) as {{ cost }}_{{ forecast }},
        {%- endfor -%}
        {%- endfor %}
        forecast_costs.billing_month is not null as has_forecast,
        case
            when accounts.provider is null then 'charged as a whole'
            when totals.is_final then 'final'
            when forecast_accounts.learned_days >= {{ var('forecast_min_days') }} and forecast_accounts.is_fallback = 1
                then 'average of all days'
            when forecast_accounts.learned_days >= {{ var('forecast_min_days') }} then 'averages of weekdays'
            when {{ later('month', 1, 'totals.billing_month') }} <= accounts.complete_before_billing_date
                then 'over, not loaded whole'
            when forecast_accounts.remaining_days is null then 'no cost by the day'
            else 'too few days'
        end as basis
    from totals
    left join accounts
        on totals.provider = accounts.provider
        and totals.account = accounts.account
    left join forecast_accounts
        on totals.provider = forecast_accounts.provider
        and totals.billing_account = forecast_accounts.billing_account
        and totals.account = forecast_accounts.account
        and totals.billing_month = forecast_accounts.billing_month
    left join forecast_costs
        on totals.provider = forecast_costs.provider
        and totals.billing_account = forecast_costs.billing_account
        and totals.account = forecast_costs.account
        and totals.billing_month = forecast_costs.billing_month
        and totals.currency = forecast_costs.currency
        and forecast_costs.known_days = 0

),

{%- set columns = {'forecast': 'expected', 'forecast_low': 'low', 'forecast_high': 'high'} %}

final as (

    select
        provider,
        billing_account,
        account,
        billing_month,
        currency,
        {%- for cost, prefix in [('billed', ''), ('effective', 'effective_')] %}
        cast({{ cost }}_cost as numeric(28, 9)) as {{ prefix }}cost_to_date,
        {%- for column, forecast in columns.items() %}
        cast(case
            when basis in ('averages of weekdays', 'average of all days') then {{ cost }}_{{ forecast }}
            when basis = 'charged as a whole' and has_forecast then {{ cost }}_{{ forecast }}
            when basis in ('final', 'charged as a whole', 'over, not loaded whole') then {{ cost }}_cost
        end as numeric(28, 9)) as {{ prefix }}{{ column }},
        {%- endfor -%}
        {%- endfor %}
        is_final,
        is_cut,
        as_of_date,
        cast(remaining_days as integer) as remaining_days,
        cast(learned_days as integer) as learned_days,
        cast(basis as {{ dbt.type_string() }}) as basis
    from described

)

select * from final
