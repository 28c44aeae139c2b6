-- One row per account and day: the credits that Onepin states as used, included and left.
-- They are the credits of the key's owner, in a billing period that the API does not state. They are not part of the
-- workspace's usage, so the period is null and they are compared with nothing. Each range's snapshot of a day repeats them.

with

usage_summary as (

    select * from {{ ref('stg_onepin__usage_summary') }}

),

preferred as (

    select
        account,
        snapshot_date,
        own_credits_used,
        own_credits_quota,
        row_number() over (
            partition by account, snapshot_date order by fetched_at desc, workspace_id, rolling_range
        ) as place
    from usage_summary
    where own_credits_used is not null

),

final as (

    select
        account,
        snapshot_date as date,
        'credit' as unit,
        cast(own_credits_used as numeric(28, 9)) as used,
        cast(own_credits_quota as numeric(28, 9)) as quota,
        cast(own_credits_quota - own_credits_used as numeric(28, 9)) as remaining,
        cast(null as date) as period_start
    from preferred
    where place = 1

)

select * from final
