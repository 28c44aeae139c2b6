{# The branches of a `case` for the name of a scope of the billing tables: `total`, `mathpix`, `mathpix/europe`, `team search`. #}
{% macro scope_names() -%}
    when scope = 'total' then 'total'
            when scope = 'provider' then provider
            when scope = 'account' then {{ dbt.concat(['provider', "'/'", 'account']) }}
            when scope = 'owner' and team = '' then {{ dbt.concat(["'cost centre '", 'cost_centre']) }}
            when scope = 'owner' and cost_centre = '' then {{ dbt.concat(["'team '", 'team']) }}
            when scope = 'owner' then {{ dbt.concat(["'team '", 'team', "', cost centre '", 'cost_centre']) }}
{%- endmacro %}


{# A condition: a row of a billing file names a value, or the start of it if `is_pattern`. #}
{% macro names_value(named, value) -%}
    ({{ named }}.value = {{ value }} or ({{ named }}.is_pattern and substring({{ value }}, 1, length({{ named }}.value)) = {{ named }}.value))
{%- endmacro %}
