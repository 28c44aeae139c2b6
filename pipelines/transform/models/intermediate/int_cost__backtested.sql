-- One row per provider, billing account, complete billing month, currency and number of known days: the forecast at that time,
-- and its error. Charges without a day, such as fees, count as known.

with

cost_monthly as (

    select * from {{ ref('cost_monthly') }}

),

forecasted_usage as (

    select * from {{ ref('int_usage__forecasted') }}

),

{{ forecast_costs() }},

costs as (

    select
        provider,
        billing_account,
        billing_month,
        currency,
        sum(billed_cost) as billed_cost,
        sum(effective_cost) as effective_cost
    from cost_monthly
    group by provider, billing_account, billing_month, currency

),

learned as (

    select
        provider,
        billing_account,
        account,
        billing_month,
        known_days,
        max(learned_days) as learned_days
    from forecasted_usage
    where known_days > 0 and learned_days is not null
    group by provider, billing_account, account, billing_month, known_days

),

-- A bill has a forecast if each of its accounts has one.
learned_of_all as (

    select
        provider,
        billing_account,
        billing_month,
        known_days,
        min(learned_days) as learned_days
    from learned
    group by provider, billing_account, billing_month, known_days

),

forecasts as (

    select
        forecast_costs.provider,
        forecast_costs.billing_account,
        forecast_costs.billing_month,
        forecast_costs.currency,
        forecast_costs.known_days
        {%- for cost in ['billed', 'effective'] -%}
        {%- for forecast in ['expected', 'low', 'high'] %},
        sum(case
            when learned_of_all.learned_days >= {{ var('forecast_min_days') }} then forecast_costs.{{ cost }}_{{ forecast }}
        end) as {{ cost }}_{{ forecast }}
        {%- endfor -%}
        {%- endfor %}
    from forecast_costs
    left join learned_of_all
        on forecast_costs.provider = learned_of_all.provider
        and forecast_costs.billing_account = learned_of_all.billing_account
        and forecast_costs.billing_month = learned_of_all.billing_month
        and forecast_costs.known_days = learned_of_all.known_days
    where forecast_costs.known_days > 0
    group by
        forecast_costs.provider, forecast_costs.billing_account, forecast_costs.billing_month, forecast_costs.currency,
        forecast_costs.known_days

),

final as (

    select
        forecasts.provider,
        forecasts.billing_account,
        forecasts.billing_month,
        forecasts.currency,
        forecasts.known_days
        {%- for cost, prefix in [('billed', ''), ('effective', 'effective_')] %},
        cast(coalesce(costs.{{ cost }}_cost, 0) as numeric(28, 9)) as {{ prefix }}cost,
        cast(forecasts.{{ cost }}_expected as numeric(28, 9)) as {{ prefix }}forecast,
        cast(forecasts.{{ cost }}_low as numeric(28, 9)) as {{ prefix }}forecast_low,
        cast(forecasts.{{ cost }}_high as numeric(28, 9)) as {{ prefix }}forecast_high,
        {{ divided('forecasts.' ~ cost ~ '_expected - costs.' ~ cost ~ '_cost', 'costs.' ~ cost ~ '_cost', 6) }}
            as {{ prefix }}relative_error
        {%- endfor %}
    from forecasts
    left join costs
        on forecasts.provider = costs.provider
        and forecasts.billing_account = costs.billing_account
        and forecasts.billing_month = costs.billing_month
        and forecasts.currency = costs.currency

)

select * from final
