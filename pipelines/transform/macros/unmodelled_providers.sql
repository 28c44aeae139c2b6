{#
    The providers of `registered_providers` without an entry in `providers`. No model reads their usage, and their raw tables
    are not sources of this project.
#}
{% macro unmodelled_providers() %}
    {{- return(var('registered_providers') | reject('in', var('providers')) | list) -}}
{% endmacro %}


{#
    A query for the rows of these providers: `provider`, `account`, `resource` (the raw table), `date` and `row_count`. The
    tables are those in the provider's log `fetched_windows`. The query counts rows, because the quantity of a row is
    unknown, and so is whether two tables hold the same usage.
#}
{% macro unmodelled_usage() %}
    {%- set tables = [] -%}
    {%- if execute and flags.INTROSPECT -%}
        {%- for provider in unmodelled_providers() -%}
            {%- do tables.extend(loaded_tables(provider)) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- for table in tables %}
        select
            '{{ table.provider }}' as provider,
            account,
            '{{ table.relation.identifier }}' as resource,
            {{ table.date }} as date,
            count(*) as row_count
        from {{ table.rows }}
        group by account, {{ table.date }}
        {{ 'union all' if not loop.last }}
    {%- else %}
        select
            cast(null as {{ dbt.type_string() }}) as provider,
            cast(null as {{ dbt.type_string() }}) as account,
            cast(null as {{ dbt.type_string() }}) as resource,
            cast(null as date) as date,
            cast(null as bigint) as row_count
        limit 0
    {%- endfor %}
{% endmacro %}


{#
    The usage tables of a provider that exist, each with an SQL expression for the date of a row: its `date`, else the UTC
    date of `bucket_start`, else the UTC date on which it was fetched.
#}
{% macro loaded_tables(provider) %}
    {%- set schema = var(provider ~ '_schema', provider) -%}
    {%- set database = var(provider ~ '_database', target.database or schema) -%}
    {%- set log = adapter.get_relation(database, schema, 'fetched_windows') -%}
    {%- set tables = [] -%}
    {%- set names = run_query('select distinct resource from ' ~ log ~ ' order by 1').columns[0].values() if log else [] -%}
    {%- for name in names -%}
        {%- set relation = adapter.get_relation(database, schema, name) -%}
        {%- if relation -%}
            {%- set columns = adapter.get_columns_in_relation(relation) | map(attribute='name') | map('lower') | list -%}
            {%- if 'date' in columns -%}
                {%- set date = 'cast(date as date)' -%}
            {%- elif 'bucket_start' in columns -%}
                {%- set date = 'cast(' ~ to_utc('bucket_start') ~ ' as date)' -%}
            {%- else -%}
                {%- set date = 'cast(' ~ to_utc('fetched_at') ~ ' as date)' -%}
            {%- endif -%}
            {%- set rows = relation -%}
            {%- if as_of() -%}
                {%- set versions = row_versions(relation, dict.fromkeys(columns)) -%}
                {%- set rows = '(select * from (' ~ versions ~ ') as versions where superseded_at is null) as ' ~ name -%}
            {%- endif -%}
            {%- do tables.append({'provider': provider, 'relation': relation, 'rows': rows, 'date': date}) -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(tables) -}}
{% endmacro %}
