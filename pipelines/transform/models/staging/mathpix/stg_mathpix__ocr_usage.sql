-- One row per grouping, account, timespan, bucket, app, group, usage type and hash of request options.
-- The API returns one grouping per request, and each grouping holds the same usage again. Pick one `grouped_by`; never add
-- two of them up.

{%- set groupings = ['usage_type', 'request_args_hash', 'app_id', 'usage_type_and_app_id'] %}

with

{% for grouping in groupings -%}
ocr_usage_by_{{ grouping }} as (

    select
        cast('{{ grouping }}' as {{ dbt.type_string() }}) as grouped_by,
        account,
        timespan,
        {{ to_utc('bucket_start') }} as bucket_start,
        {{ to_utc('bucket_end') }} as bucket_end,
        app_id,
        group_id,
        usage_type,
        request_args_hash,
        count as usage_count,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from {{ raw_table('mathpix', 'ocr_usage_by_' ~ grouping) }}

),

{% endfor -%}

final as (

    {% for grouping in groupings -%}
    select * from ocr_usage_by_{{ grouping }}
    {%- if not loop.last %}
    union all
    {% endif -%}
    {%- endfor %}

)

select * from final
