{#
    A raw table, or no rows if the table does not exist. The loader creates a table with its first row, so a new account or
    an unused provider has none, and `source()` alone would be an error. The columns have the types that the source's YAML
    declares.

    `added` names columns that a table loaded by an earlier version may lack. Missing columns are null. With the variable
    `as_of`, the rows are those of that moment.
#}
{% macro raw_table(source_name, table_name, added=[]) %}
    {%- set relation = source(source_name, table_name) -%}
    {%- if not execute or raw_table_exists(source_name, relation) -%}
        {%- set missing = missing_columns(relation, added) if execute and added else [] -%}
        {%- if execute and as_of() -%}
            (
                select * from ({{ row_versions(relation, declared_columns(source_name, table_name), loaded_column(source_name)) }}) as versions
                where superseded_at is null
            ) as {{ table_name }}
        {%- elif missing -%}
            (
                select
                    *
                    {%- for column in missing %},
                    cast(null as {{ declared_type(declared_source(source_name, table_name).columns[column].data_type) }}) as {{ column }}
                    {%- endfor %}
                from {{ relation }}
            ) as {{ table_name }}
        {%- else -%}
            {{ relation }}
        {%- endif -%}
    {%- else -%}
        {%- set declared = declared_source(source_name, table_name) -%}
        (
            select
                {%- for column in declared.columns.values() %}
                cast(null as {{ declared_type(column.data_type) }}) as {{ raw_column(column.name) }}{{ ',' if not loop.last }}
                {%- endfor %}
            limit 0
        ) as {{ table_name }}
    {%- endif -%}
{% endmacro %}


{# The entry of a raw table in the sources' YAML. #}
{% macro declared_source(source_name, table_name) %}
    {{- return(
        graph.sources.values()
        | selectattr('source_name', 'equalto', source_name)
        | selectattr('name', 'equalto', table_name)
        | first
    ) -}}
{% endmacro %}


{# The declared columns of a raw table, with their types. #}
{% macro declared_columns(source_name, table_name) %}
    {%- set types = {} -%}
    {%- for column in declared_source(source_name, table_name).columns.values() -%}
        {%- do types.update({column.name: column.data_type}) -%}
    {%- endfor -%}
    {{- return(types) -}}
{% endmacro %}


{# The column with the time at which a row took its values. #}
{% macro loaded_column(source_name) %}
    {{- return('loaded_at' if source_name == 'billing' else 'fetched_at') -}}
{% endmacro %}


{# The columns that the table lacks. Empty for the input of a unit test, which is not a table in the database. #}
{% macro missing_columns(relation, columns) %}
    {%- set existing = adapter.get_relation(relation.database, relation.schema, relation.identifier) if flags.INTROSPECT -%}
    {%- if not existing -%}{{ return([]) }}{%- endif -%}
    {%- set present = adapter.get_columns_in_relation(existing) | map(attribute='name') | map('lower') | list -%}
    {{- return(columns | reject('in', present) | list) -}}
{% endmacro %}


{#
    A macro of its own, so that a unit test can override it: the input of a unit test is not a relation of the database.
    If dbt may not query the database (`--no-introspect`), the table is assumed to exist.
#}
{% macro raw_table_exists(source_name, relation) %}
    {{- return(
        source_is_enabled(source_name)
        and (
            not flags.INTROSPECT
            or adapter.get_relation(relation.database, relation.schema, relation.identifier) is not none
        )
    ) -}}
{% endmacro %}


{# False if the source is switched off: by `<source>_enabled`, or by its entry in the variable `providers`. #}
{% macro source_is_enabled(source_name) %}
    {{- return(var(source_name ~ '_enabled', var('providers').get(source_name, {}).get('enabled', true))) -}}
{% endmacro %}


{#
    The quoted name of a raw column that some engine reserves, such as `range`. The loader writes it in lower case, or in upper
    case on Snowflake, which does not fold quoted names.
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


{# The engine's name of a type that a source's YAML declares. #}
{% macro declared_type(data_type) %}
    {{- return(adapter.dispatch('declared_type', 'meterhouse')(data_type)) -}}
{% endmacro %}

{% macro default__declared_type(data_type) -%}
    {{ data_type }}
{%- endmacro %}

{# These engines call an instant `timestamp`, and Databricks does not know `text`. #}
{% macro bigquery__declared_type(data_type) -%}
    {{ {'text': 'string', 'timestamptz': 'timestamp', 'numeric(28, 12)': type_rate()}.get(data_type, data_type) }}
{%- endmacro %}

{% macro spark__declared_type(data_type) -%}
    {{ {'text': 'string', 'timestamptz': 'timestamp'}.get(data_type, data_type) }}
{%- endmacro %}


{#
    True for rows of the log whose load dlt has recorded. dlt commits the tables of a load one by one, this log last of all, and
    records the load after that. Rows of earlier versions have no load.
#}
{% macro is_load_recorded(source_name) %}
    {%- set loads = recorded_loads(source_name) -%}
    {%- if loads -%}
        (
            load_id is null
            or load_id in (
                select load_id from {{ loads }}
                where status = 0{% if as_of() %} and {{ to_utc('inserted_at') }} <= {{ build_time() }}{% endif %}
            )
        )
    {%- else -%}
        1 = 1
    {%- endif -%}
{% endmacro %}


{#
    dlt's table of loads; none in a lake, where other engines cannot read it. There, the models rely on dlt writing this
    log last. It is a separate macro so that unit tests can override it.
#}
{% macro recorded_loads(source_name) %}
    {%- set log = source(source_name, 'fetched_windows') -%}
    {%- if execute and flags.INTROSPECT -%}
        {{- return(adapter.get_relation(log.database, log.schema, '_dlt_loads')) -}}
    {%- endif -%}
    {{- return(none) -}}
{% endmacro %}
