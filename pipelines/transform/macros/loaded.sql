{#
    The CTE `loaded`: the billing accounts of the CTE `accounts` (`int_accounts__completed`). A billing account is completely
    loaded from `complete_from` to `complete_before`, where all its accounts are. `last_date` is the end of its latest account.
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
