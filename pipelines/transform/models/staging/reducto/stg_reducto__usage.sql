-- One row per grouping, account, organisation, day and value of the grouping.
-- The API answers one grouping a call, and each is the whole usage again, cut differently: whoever reads this picks one
-- `grouped_by` and never adds two of them up. Days are taken to be days in UTC, which Reducto does not state.

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
