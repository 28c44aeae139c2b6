{#
    CTEs that end in `forecast_costs`: one row per provider, billing account, account, billing month, number of known days
    (0 for the running month) and currency, with the forecast billed and effective cost of the whole month in the scenarios
    `expected`, `low` and `high`. Fees, purchases and corrections do not depend on usage: they are the same in all three.
#}
{% macro forecast_costs() %}
    scenarios as (

        select * from {{ ref('int_billing__scenarios') }}
        where forecast is not null

    ),

    rated as (

        select
            scenarios.provider,
            scenarios.billing_account,
            charges.account,
            scenarios.billing_month,
            scenarios.known_days,
            scenarios.forecast,
            charges.currency,
            charges.billed_cost,
            charges.effective_cost
        from {{ ref('int_charges__computed') }} as charges
        inner join scenarios
            on charges.scenario = scenarios.scenario
            and charges.provider = scenarios.provider
            and charges.billing_account = scenarios.billing_account
            and charges.billing_month = scenarios.billing_month

    ),

    fixed as (

        select provider, billing_account, account, billing_month, currency, billed_cost, effective_cost
        from {{ ref('cost_monthly') }}
        where charge_category = 'Purchase'

        union all

        select provider, billing_account, account, billing_month, currency, billed_cost, effective_cost
        from {{ ref('int_charges__corrected') }}

    ),

    forecast_parts as (

        select * from rated

        union all

        select
            scenarios.provider,
            scenarios.billing_account,
            fixed.account,
            scenarios.billing_month,
            scenarios.known_days,
            scenarios.forecast,
            fixed.currency,
            fixed.billed_cost,
            fixed.effective_cost
        from fixed
        inner join scenarios
            on fixed.provider = scenarios.provider
            and fixed.billing_account = scenarios.billing_account
            and fixed.billing_month = scenarios.billing_month

    ),

    forecast_costs as (

        select
            provider,
            billing_account,
            account,
            billing_month,
            known_days,
            currency
            {%- for cost in ['billed', 'effective'] -%}
            {%- for forecast in ['expected', 'low', 'high'] %},
            sum(case when forecast = '{{ forecast }}' then {{ cost }}_cost else 0 end) as {{ cost }}_{{ forecast }}
            {%- endfor -%}
            {%- endfor %}
        from forecast_parts
        group by provider, billing_account, account, billing_month, known_days, currency

    )
{%- endmacro %}
