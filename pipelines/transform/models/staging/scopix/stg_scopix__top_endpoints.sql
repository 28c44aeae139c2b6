-- One row per account, day of the snapshot and rank. Each snapshot covers its calendar month to date.

with

top_endpoints as (

    select * from {{ raw_table('scopix', 'top_endpoints') }}

),

final as (

    select
        account,
        snapshot_date,
        rank as endpoint_rank,
        {{ to_utc('period_start') }} as period_start,
        endpoint,
        request_count,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from top_endpoints

)

select * from final
