{# The staging model of the log of fetches, which has the same columns for every provider. #}
{% macro fetched_windows(provider) -%}
with

fetched_windows as (

    select * from {{ raw_table(provider, 'fetched_windows') }}

),

final as (

    select
        resource,
        account,
        part,
        {{ to_utc('window_start') }} as window_start,
        {{ to_utc('window_end') }} as window_end,
        {{ to_utc('complete_until') }} as complete_until,
        cast(row_count as bigint) as row_count,
        {{ to_utc('fetched_at') }} as fetched_at
    from fetched_windows

)

select * from final
{%- endmacro %}
