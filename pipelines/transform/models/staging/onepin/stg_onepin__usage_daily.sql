-- One row per account, workspace, time zone and local date.
-- A change of the configured time zone starts a second history and keeps the first. Pick one `timezone` for each date; never
-- add two of them up.

with

usage_daily as (

    select * from {{ raw_table('onepin', 'usage_daily') }}

),

final as (

    select
        account,
        workspace_id,
        timezone,
        date,
        credits,
        characters as character_count,
        {{ raw_column('lines') }} as line_count,
        runs as run_count,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from usage_daily

)

select * from final
