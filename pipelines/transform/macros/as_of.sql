{#
    The variable `as_of` builds the project as it would have been built at an earlier moment: from the rows that were loaded
    by then, and the closing events that were logged by then. A moment without a time zone is in UTC. `meterhouse` passes it
    in the environment: if the value of a dbt variable changes, dbt parses the whole project again.
#}
{% macro as_of() %}
    {%- set stated = var('as_of', none) or env_var('METERHOUSE_AS_OF', '') -%}
    {%- set moment = modules.datetime.datetime.fromisoformat(stated | string) if stated else none -%}
    {{- return(moment.astimezone(modules.pytz.utc) if moment and moment.tzinfo else moment) -}}
{% endmacro %}


{# The time of this build: that at which dbt started it, or the moment of `as_of`. #}
{% macro build_time() -%}
    {{- return(time_literal(as_of() or run_started_at)) -}}
{%- endmacro %}


{# A time of Jinja as SQL. #}
{% macro time_literal(moment) -%}
    cast('{{ moment.strftime('%Y-%m-%d %H:%M:%S.%f') }}' as {{ type_utc() }})
{%- endmacro %}


{#
    A query for all versions of the rows of a raw table: the table itself, and those in its history that a later load replaced
    or withdrew. Of these, `superseded_at` (UTC), `superseded_by` (the run) and `is_withdrawn` are set. With `as_of`, it has the
    versions that were loaded by then, as they were then. `columns` maps the table's columns to their declared types, or to
    none; missing columns are null.

    On Delta tables, a killed load can leave a row both in the table and in its history. With `as_of`, the two copies are equal,
    so `union` keeps one. Two different rows are never equal, because `row_version` depends on all values.
#}
{% macro row_versions(relation, columns, loaded='fetched_at') -%}
    {%- set history = history_of(relation) -%}
    {%- set until = build_time() if as_of() else none -%}
    select
        {{ columns_or_null(relation, columns) }},
        cast(null as {{ type_utc() }}) as superseded_at,
        cast(null as {{ dbt.type_string() }}) as superseded_by,
        cast(null as boolean) as is_withdrawn
    from {{ relation }}
    {{ 'where ' ~ to_utc(loaded) ~ ' <= ' ~ until if until }}
    {%- if history %}
    {%- set superseded_at = to_utc('superseded_at') %}
    {%- set by_then = 'case when ' ~ superseded_at ~ ' <= ' ~ until ~ ' then ' if until %}
    {%- set end = ' end' if until %}
    union {{ 'all' if not until }}
    select
        {{ columns_or_null(history, columns) }},
        {{ by_then }}{{ superseded_at }}{{ end }} as superseded_at,
        {{ by_then }}superseded_by{{ end }} as superseded_by,
        {{ by_then }}is_withdrawn{{ end }} as is_withdrawn
    from {{ history }}
    {{ 'where ' ~ to_utc(loaded) ~ ' <= ' ~ until if until }}
    {%- endif %}
{%- endmacro %}


{# The history table of a raw table; none if the loader has not created it yet. #}
{% macro history_of(relation) %}
    {%- if execute and flags.INTROSPECT -%}
        {{- return(adapter.get_relation(relation.database, relation.schema, relation.identifier ~ '__history')) -}}
    {%- endif -%}
    {{- return(none) -}}
{% endmacro %}


{% macro columns_or_null(relation, columns) -%}
    {%- set missing = missing_columns(relation, columns.keys() | list) -%}
    {%- for name, type in columns.items() %}
        {%- if name not in missing %}
        {{ raw_column(name) }}
        {%- else %}
        {{ 'cast(null as ' ~ declared_type(type) ~ ')' if type else 'null' }} as {{ raw_column(name) }}
        {%- endif %}
        {{- ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}


{#
    Checks, before anything is built, that `as_of` is not in the future, that a build with it writes into other schemas than
    the regular build, and that it finds the closing log of the regular build.
#}
{% macro require_own_schemas() %}
    {%- if not execute or not as_of() -%}{{ return('') }}{%- endif -%}
    {%- set moment = as_of() if as_of().tzinfo else modules.pytz.utc.localize(as_of()) -%}
    {%- if moment > run_started_at -%}
        {{ exceptions.raise_compiler_error('the variable as_of is in the future: ' ~ moment.isoformat()) }}
    {%- endif -%}
    {%- set log = graph.nodes.values() | selectattr('name', 'equalto', 'int_usage__frozen') | first -%}
    {%- if log.schema | lower == var('closing_log_schema') | lower -%}
        {{ exceptions.raise_compiler_error(
            'a build with the variable as_of would overwrite the schema ' ~ log.schema ~ ': build into another schema'
        ) }}
    {%- elif flags.INTROSPECT and not built_before('int_usage__frozen') -%}
        {{ exceptions.raise_compiler_error(
            'a build with the variable as_of reads the table ' ~ var('closing_log_schema') ~ '.int_usage__frozen, which'
            ~ ' does not exist: build the models without as_of first, or set the variable closing_log_schema to its schema'
        ) }}
    {%- endif -%}
{% endmacro %}
