{#
    Defines the CTE `usage_as_billed`: the rows of the CTE `relation` whose scenario is the one in which their month is billed, or
    `computed` if no restatement may change the month. Rows of the scenario `high` are kept: they already have the billed
    quantities. The model must define the CTE `scenarios`.
#}
{% macro usage_as_billed(relation) %}
    usage_as_billed as (

        select {{ relation }}.*
        from {{ relation }}
        left join scenarios
            on {{ relation }}.provider = scenarios.provider
            and {{ relation }}.billing_account = scenarios.billing_account
            and {{ relation }}.billing_month = scenarios.billing_month
            and scenarios.is_billed
        where {{ relation }}.scenario in ('high', coalesce(scenarios.scenario, 'computed'))

    )
{%- endmacro %}
