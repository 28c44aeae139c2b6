-- One row per provider, account and table that was ever requested.
-- Nothing depends on the time of the build: every delay is measured against the latest fetch of all tables.

with

windows as (

    select * from {{ ref('stg_providers__fetched_windows') }}

),

-- A regular run requests the running bucket too, and its data is known up to the time of the request. A backfill ends in the
-- past and makes nothing fresh.
parts as (

    select
        provider,
        account,
        resource,
        part,
        is_current,
        min(window_start) as loaded_from,
        max(complete_until) as complete_until,
        max(case when window_end is not null then least(window_end, fetched_at) end) as known_until,
        max(fetched_at) as last_fetched_at
    from windows
    group by provider, account, resource, part, is_current

),

-- A table is complete only as far as its slowest partition, and never loaded if a current partition has no window at all.
tables as (

    select
        provider,
        account,
        resource,
        min(loaded_from) as loaded_from,
        case
            when count(case when is_current then 1 end) = count(case when is_current then complete_until end)
                then min(case when is_current then complete_until end)
        end as complete_until,
        case
            when count(case when is_current then 1 end) = count(case when is_current then known_until end)
                then min(case when is_current then known_until end)
        end as known_until,
        max(last_fetched_at) as last_fetched_at
    from parts
    group by provider, account, resource

),

newest as (

    select
        *,
        max(last_fetched_at) over (partition by provider, account) as account_fetched_at
    from tables

),

of_all as (

    select max(last_fetched_at) as newest_fetched_at
    from tables

),

measured as (

    select
        newest.*,
        case
            when known_until is not null
                then greatest({{ hours_between('known_until', 'account_fetched_at') }}, 0)
        end as hours_behind,
        greatest({{ hours_between('account_fetched_at', 'newest_fetched_at') }}, 0) as account_hours_behind,
        greatest({{ hours_between('known_until', 'newest_fetched_at') }}, 0) as hours_behind_all
    from newest
    cross join of_all

),

final as (

    select
        measured.provider,
        measured.account,
        measured.resource,
        measured.loaded_from,
        measured.complete_until,
        measured.last_fetched_at,
        cast(measured.hours_behind as integer) as hours_behind,
        cast(measured.account_hours_behind as integer) as account_hours_behind,
        case
            when measured.known_until is null then 'never loaded'
            when measured.hours_behind_all > {{ var('freshness_stale_after_hours') }} then 'stale'
            when measured.hours_behind_all > {{ var('freshness_late_after_hours') }} then 'late'
            else 'fresh'
        end as status
    from measured

)

select * from final
