-- One row per provider, account, raw table, partition (column `part`) and fetch of a window.
-- A partition, such as an organisation, that no run requested in the week before the table's latest fetch is not current: it is
-- no longer configured, and would otherwise delay its account forever. The model is a table, because many models read it.
-- Windows of a load that did not finish are left out: their rows may be missing.

{{ config(materialized='table') }}

{%- set providers = provider_names() %}

with

{% for provider in providers -%}
{{ provider }} as (

    select * from {{ raw_table(provider, 'fetched_windows', added=['load_id']) }}
    where {{ is_load_recorded(provider) }}

),

{% endfor -%}

unioned as (

    {% for provider in providers -%}
    select
        '{{ provider }}' as provider,
        account,
        resource,
        coalesce(part, '') as part,
        {{ to_utc('window_start') }} as window_start,
        {{ to_utc('window_end') }} as window_end,
        {{ to_utc('complete_until') }} as complete_until,
        cast(row_count as bigint) as row_count,
        {{ to_utc('fetched_at') }} as fetched_at
    from {{ provider }}
    {%- if not loop.last %}

    union all

    {% endif -%}
    {%- endfor %}

),

dated as (

    select
        *,
        max(fetched_at) over (partition by provider, account, resource) as table_fetched_at,
        max(fetched_at) over (partition by provider, account, resource, part) as part_fetched_at
    from unioned

),

final as (

    select
        cast(provider as {{ dbt.type_string() }}) as provider,
        account,
        resource,
        part,
        window_start,
        window_end,
        complete_until,
        row_count,
        fetched_at,
        part_fetched_at >= {{ later('day', -7, 'table_fetched_at') }} as is_current
    from dated

)

select * from final
