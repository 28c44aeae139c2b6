{#
    CTEs that end in `forecast_costs`: one row per provider, billing account, account, billing month, number of known days
    (0 for the running month) and currency, with the forecast billed and effective cost of the whole month: expected, low and
    high. Low comes from the scenario with the cheapest bill, high from the one with the most expensive bill: with volume
    prices, more usage may cost less. Fees, purchases and corrections do not depend on usage: they are the same in all three.
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

    in_scenarios as (

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

    ),

    with_bills as (

        select
            *
            {%- for cost in ['billed', 'effective'] -%}
            {%- for forecast in ['expected', 'low', 'high'] %},
            sum({{ cost }}_{{ forecast }}) over (
                partition by provider, billing_account, billing_month, known_days, currency
            ) as {{ cost }}_{{ forecast }}_bill
            {%- endfor -%}
            {%- endfor %}
        from in_scenarios

    ),

    forecast_costs as (

        select
            provider,
            billing_account,
            account,
            billing_month,
            known_days,
            currency
            {%- for cost in ['billed', 'effective'] %},
            {{ cost }}_expected,
            case
                when {{ cost }}_low_bill <= least({{ cost }}_expected_bill, {{ cost }}_high_bill) then {{ cost }}_low
                when {{ cost }}_high_bill <= {{ cost }}_expected_bill then {{ cost }}_high
                else {{ cost }}_expected
            end as {{ cost }}_low,
            case
                when {{ cost }}_high_bill >= greatest({{ cost }}_expected_bill, {{ cost }}_low_bill) then {{ cost }}_high
                when {{ cost }}_low_bill >= {{ cost }}_expected_bill then {{ cost }}_low
                else {{ cost }}_expected
            end as {{ cost }}_high
            {%- endfor %}
        from with_bills

    )
{%- endmacro %}
