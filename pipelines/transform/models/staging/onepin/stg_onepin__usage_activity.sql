-- One row per event of the activity feed.

with

usage_activity as (

    select * from {{ raw_table('onepin', 'usage_activity') }}

),

final as (

    select
        account,
        workspace_id,
        id as event_id,
        {{ to_utc(raw_column('timestamp')) }} as occurred_at,
        user_id,
        user_name,
        action,
        kind,
        resource_type,
        resource_id,
        resource_name,
        metadata,
        ip,
        {{ to_utc('fetched_at') }} as fetched_at
    from usage_activity

)

select * from final
