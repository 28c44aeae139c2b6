-- One row per account, workspace, view, time zone and week or month.
-- Both views hold the same usage, which `stg_onepin__usage_daily` holds too: never add them up.

with

usage_buckets as (

    select * from {{ raw_table('onepin', 'usage_buckets') }}

),

final as (

    select
        account,
        workspace_id,
        {{ raw_column('view') }} as bucket_view,
        timezone,
        {{ raw_column('date') }} as start_date,
        {{ to_utc('bucket_start') }} as bucket_start,
        {{ to_utc('bucket_end') }} as bucket_end,
        {{ raw_column('label') }} as bucket_label,
        credits,
        characters as character_count,
        {{ raw_column('lines') }} as line_count,
        runs as run_count,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from usage_buckets

)

select * from final
