-- One row per grouping, account, organisation, day and value of the grouping.
-- The API returns one grouping per request, and each grouping holds the same usage again. Pick one `grouped_by`; never add
-- two of them up. Days are taken to be UTC, which Reducto does not state.

{%- set groupings = ['product', 'feature', 'api_key', 'file_type'] %}

with

{% for grouping in groupings -%}
usage_by_{{ grouping }} as (

    select
        cast('{{ grouping }}' as {{ dbt.type_string() }}) as grouped_by,
        account,
        org_id,
        cast(date as date) as date,
        {{ grouping }} as dimension_value,
        credits,
        request_count,
        is_unrated,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from {{ raw_table('reducto', 'usage_by_' ~ grouping) }}

),

{% endfor -%}

final as (

    {% for grouping in groupings -%}
    select * from usage_by_{{ grouping }}
    {%- if not loop.last %}
    union all
    {% endif -%}
    {%- endfor %}

)

select * from final
