{#
    The CTE `of_billed_scenario`: the rows of `usage`, a CTE with usage in all scenarios, in the scenario that their month is
    billed in; `computed` if no restatement may change the month. The rows of `high` stay, because they have the billed
    quantities. The model must define the CTE `scenarios`.
#}
{% macro of_billed_scenario(usage) %}
    of_billed_scenario as (

        select {{ usage }}.*
        from {{ usage }}
        left join scenarios
            on {{ usage }}.provider = scenarios.provider
            and {{ usage }}.billing_account = scenarios.billing_account
            and {{ usage }}.billing_month = scenarios.billing_month
            and scenarios.is_billed
        where {{ usage }}.scenario in ('high', coalesce(scenarios.scenario, 'computed'))

    )
{%- endmacro %}
