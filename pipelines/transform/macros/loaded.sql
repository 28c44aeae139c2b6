{#
    The CTE `loaded`: one row per billing account of the CTE `accounts` (`int_accounts__completed`). From `complete_from`
    until before `complete_before`, all its accounts are completely loaded. `last_date` is the latest end among them.
#}
{% macro loaded_billing_accounts() %}
    loaded as (

        select
            provider,
            billing_account,
            max(billing_timezone) as billing_timezone,
            max(complete_from_billing_date) as complete_from,
            min(complete_before_billing_date) as complete_before,
            max(complete_before_billing_date) as last_date
        from accounts
        group by provider, billing_account

    )
{%- endmacro %}
