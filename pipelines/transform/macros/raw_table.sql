{#
    A loader creates a table when the first row arrives, so a new account, or a provider that nobody uses, has none.
    A model that reads through this macro gets no rows then, in columns typed as the source's yml declares them,
    where `source()` alone would be an error.
#}
{% macro raw_table(source_name, table_name) %}
    {%- set relation = source(source_name, table_name) -%}
    {%- if not execute or raw_table_exists(source_name, relation) -%}
        {{ relation }}
    {%- else -%}
        {%- set declared = graph.sources.values()
            | selectattr('source_name', 'equalto', source_name)
            | selectattr('name', 'equalto', table_name)
            | first -%}
        (
            select
                {%- for column in declared.columns.values() %}
                cast(null as {{ declared_type(column.data_type) }}) as {{ raw_column(column.name) }}{{ ',' if not loop.last }}
                {%- endfor %}
            limit 0
        ) as {{ table_name }}
    {%- endif -%}
{% endmacro %}


{#
    Apart from `raw_table` so that a unit test, whose input is no relation of the database, can answer in its place.
    Where dbt may not ask the database (`--no-introspect`), the table is taken to be there.
#}
{% macro raw_table_exists(source_name, relation) %}
    {{- return(
        var(source_name ~ '_enabled')
        and (
            not flags.INTROSPECT
            or adapter.get_relation(relation.database, relation.schema, relation.identifier) is not none
        )
    ) -}}
{% endmacro %}


{#
    The name of a raw column that some engine reserves, such as `range`, as the loader has written it: in lower case, or in
    upper case on Snowflake, where a name that is quoted is not folded to it.
#}
{% macro raw_column(name) %}
    {{- return(adapter.dispatch('raw_column', 'meterhouse')(name)) -}}
{% endmacro %}

{% macro default__raw_column(name) -%}
    {{ adapter.quote(name) }}
{%- endmacro %}

{% macro snowflake__raw_column(name) -%}
    {{ adapter.quote(name | upper) }}
{%- endmacro %}


{# The engine's name of a type that a source's yml declares. #}
{% macro declared_type(data_type) %}
    {{- return(adapter.dispatch('declared_type', 'meterhouse')(data_type)) -}}
{% endmacro %}

{% macro default__declared_type(data_type) -%}
    {{ data_type }}
{%- endmacro %}

{# Their one type for an instant is called `timestamp`, and Databricks does not know `text`. #}
{% macro bigquery__declared_type(data_type) -%}
    {{ {'text': 'string', 'timestamptz': 'timestamp'}.get(data_type, data_type) }}
{%- endmacro %}

{% macro spark__declared_type(data_type) -%}
    {{ {'text': 'string', 'timestamptz': 'timestamp'}.get(data_type, data_type) }}
{%- endmacro %}
