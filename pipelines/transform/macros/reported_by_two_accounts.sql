{# A query for usage that two accounts report: the columns that identify it, and the two accounts. #}
{% macro reported_by_two_accounts(relation, columns) -%}
    select
        {{ columns | join(', ') }},
        min(account) as account,
        max(account) as other_account,
        'Both accounts report this usage, so that it is billed twice: remove one of the two from the configuration.' as message
    from {{ relation }}
    group by {{ columns | join(', ') }}
    having min(account) <> max(account)
{%- endmacro %}
