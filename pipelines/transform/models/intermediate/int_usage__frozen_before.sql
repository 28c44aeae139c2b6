-- One row per event of `int_usage__frozen` that earlier builds logged and no reopening has undone.
-- Reopening a period undoes what closed in it, and the corrections that closed with it. Other closed periods may depend on
-- what was frozen of open days: it stays.

{{ config(materialized='view') }}

with

events as (

    select * from {{ frozen_before() }}

),

reopened as (

    select * from events
    where event = 'reopened'

),

undone as (

    select distinct
        events.provider,
        events.account,
        events.meter,
        events.timespan,
        events.bucket_start,
        events.bucket_end,
        events.event,
        events.closed_at,
        true as is_undone
    from events
    inner join reopened
        on events.provider = reopened.provider
        and events.account = reopened.account
        and reopened.meter in ('', events.meter)
        and events.event <> 'open'
        and events.closed_at < reopened.closed_at
    where
        (
            events.timespan = 'period'
            and events.event <> 'differs' -- the next build closes the period again
            and events.period_start >= reopened.period_start
            and events.period_end <= reopened.period_end
        )
        or (events.corrected_on >= reopened.period_start and events.corrected_on < reopened.period_end)
        or (events.timespan <> 'period' and {{ is_in_period('events', 'reopened') }})

),

final as (

    select events.*
    from events
    left join undone
        on events.provider = undone.provider
        and events.account = undone.account
        and events.meter = undone.meter
        and events.timespan = undone.timespan
        and events.bucket_start = undone.bucket_start
        and events.bucket_end = undone.bucket_end
        and events.event = undone.event
        and events.closed_at = undone.closed_at
    where events.event <> 'reopened' and undone.is_undone is null

)

select * from final
