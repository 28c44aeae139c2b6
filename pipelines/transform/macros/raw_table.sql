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
                cast(null as {{ column.data_type }}) as {{ column.name }}{{ ',' if not loop.last }}
                {%- endfor %}
            limit 0
        ) as {{ table_name }}
    {%- endif -%}
{% endmacro %}


{# Apart from `raw_table` so that a unit test, whose input is no relation of the database, can answer in its place. #}
{% macro raw_table_exists(source_name, relation) %}
    {{- return(
        var(source_name ~ '_enabled')
        and adapter.get_relation(relation.database, relation.schema, relation.identifier) is not none
    ) -}}
{% endmacro %}
