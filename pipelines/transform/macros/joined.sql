{# The texts of a group in alphabetical order, separated by commas; null if there are none. Nulls are left out. #}
{% macro joined(text) %}
    {{- return(adapter.dispatch('joined', 'meterhouse')(text)) -}}
{% endmacro %}

{% macro default__joined(text) -%}
    string_agg({{ text }}, ', ' order by {{ text }})
{%- endmacro %}

{# By default, PostgreSQL sorts texts by the collation of the database. #}
{% macro postgres__joined(text) -%}
    string_agg({{ text }}, ', ' order by {{ text }} collate "C")
{%- endmacro %}

{% macro snowflake__joined(text) -%}
    nullif(listagg({{ text }}, ', ') within group (order by {{ text }}), '')
{%- endmacro %}

{% macro spark__joined(text) -%}
    nullif(array_join(sort_array(collect_list({{ text }})), ', '), '')
{%- endmacro %}
