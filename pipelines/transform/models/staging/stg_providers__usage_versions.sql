-- One row per version of a raw row that usage is priced from, for buckets in which a later load replaced or withdrew a row.
-- Rows with different `series` count the same usage, and are never added up. No rows before the first restatement.

{%- set tables = [] %}
{%- for table in priced_tables() if table.restated %}
    {%- set relation = source(table.provider, table.table) %}
    {%- if execute and raw_table_exists(table.provider, relation) and history_of(relation) %}
        {%- set columns = declared_columns(table.provider, table.table) %}
        {%- do tables.append(dict(table, relation=relation, columns=columns)) %}
    {%- endif %}
{%- endfor %}

with

{% for table in tables -%}
{{ table.provider }} as (

    {{ row_versions(table.relation, dict(table.columns, run_id='text')) }}

),

{% endfor -%}

unioned as (

    {% for table in tables -%}
    select
        '{{ table.provider }}' as provider,
        account,
        '{{ table.table }}' as resource,
        {{ table.restated.meter }} as meter,
        {{ table.restated.series or "''" }} as series,
        {%- if 'date' in table.columns %}
        'day' as timespan,
        cast(date as {{ type_utc() }}) as bucket_start,
        cast({{ later('day', 1, 'cast(date as ' ~ type_utc() ~ ')') }} as {{ type_utc() }}) as bucket_end,
        {%- else %}
        timespan,
        {{ to_utc('bucket_start') }} as bucket_start,
        {{ to_utc('bucket_end') }} as bucket_end,
        {%- endif %}
        cast({{ table.restated.quantity }} as numeric(28, 9)) as quantity,
        {{ to_utc('fetched_at') }} as fetched_at,
        run_id,
        superseded_at,
        superseded_by
    from {{ table.provider }}
    where is_complete
    {%- if not loop.last %}

    union all

    {% endif -%}
    {%- else -%}
    select
        {%- for column in ['provider', 'account', 'resource', 'meter', 'series', 'timespan', 'run_id', 'superseded_by'] %}
        cast(null as {{ dbt.type_string() }}) as {{ column }},
        {%- endfor %}
        {%- for column in ['bucket_start', 'bucket_end', 'fetched_at', 'superseded_at'] %}
        cast(null as {{ type_utc() }}) as {{ column }},
        {%- endfor %}
        cast(null as numeric(28, 9)) as quantity
    limit 0
    {%- endfor %}

),

restated as (

    select distinct
        provider,
        account,
        series,
        bucket_start,
        bucket_end
    from unioned
    where superseded_at is not null

),

final as (

    select
        cast(unioned.provider as {{ dbt.type_string() }}) as provider,
        unioned.account,
        cast(unioned.resource as {{ dbt.type_string() }}) as resource,
        cast(unioned.meter as {{ dbt.type_string() }}) as meter,
        cast(unioned.series as {{ dbt.type_string() }}) as series,
        cast(unioned.timespan as {{ dbt.type_string() }}) as timespan,
        unioned.bucket_start,
        unioned.bucket_end,
        unioned.quantity,
        unioned.fetched_at,
        unioned.run_id,
        unioned.superseded_at,
        unioned.superseded_by
    from unioned
    inner join restated
        on unioned.provider = restated.provider
        and unioned.account = restated.account
        and unioned.series = restated.series
        and unioned.bucket_start = restated.bucket_start
        and unioned.bucket_end = restated.bucket_end

)

select * from final
