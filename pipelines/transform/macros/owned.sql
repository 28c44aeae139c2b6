{#
    The CTE `owned`: adds to `rows`, a CTE with a provider and an account, the billing account and its time zone. The model must
    define the CTE `billing_accounts`. An account without an entry there is its own billing account. `also` names further
    columns of the entry.
#}
{% macro owned(rows, also=[]) %}
    owned as (

        select
            {{ rows }}.*,
            {%- for column in also %}
            billing_accounts.{{ column }},
            {%- endfor %}
            cast(coalesce(billing_accounts.billing_account, {{ rows }}.account) as {{ dbt.type_string() }}) as billing_account,
            cast({{ billing_timezone(rows ~ '.provider', 'billing_accounts.billing_timezone') }} as {{ dbt.type_string() }})
                as billing_timezone
        from {{ rows }}
        left join billing_accounts
            on {{ rows }}.provider = billing_accounts.provider
            and {{ rows }}.account = billing_accounts.account

    )
{%- endmacro %}
