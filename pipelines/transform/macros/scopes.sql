{# The branches of a `case` for the name of a scope of the billing tables: `total`, `mathpix`, `mathpix/europe`, `team search`. #}
{% macro scope_names() -%}
    when scope = 'total' then 'total'
            when scope = 'provider' then provider
            when scope = 'account' then {{ dbt.concat(['provider', "'/'", 'account']) }}
            when scope = 'owner' and team = '' then {{ dbt.concat(["'cost centre '", 'cost_centre']) }}
            when scope = 'owner' and cost_centre = '' then {{ dbt.concat(["'team '", 'team']) }}
            when scope = 'owner' then {{ dbt.concat(["'team '", 'team', "', cost centre '", 'cost_centre']) }}
{%- endmacro %}
