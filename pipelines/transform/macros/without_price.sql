{# The columns of a charge that say where its price comes from, for a charge whose amount comes from no price. #}
{% macro without_price() -%}
    cast(null as {{ dbt.type_string() }}) as price_source,
        cast(null as {{ dbt.type_string() }}) as price_basis,
        cast(null as date) as price_valid_from,
        cast(null as {{ dbt.type_string() }}) as price_file,
        cast(null as bigint) as price_row
{%- endmacro %}
