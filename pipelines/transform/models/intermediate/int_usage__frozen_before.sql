-- One row per event of `int_usage__frozen` that earlier builds logged, except for reopenings. The closing of a period that
-- was reopened has `reopened_at`.
-- Reopening a period does not undo the freezing of its quantities: other periods may depend on them, and each is billed with
-- the quantities at its closing.

{{ config(materialized='view') }}

with

events as (

    select * from {{ frozen_before() }}

),

reopenings as (

    select
        provider,
        account,
        meter,
        period_start,
        period_end,
        closed_at
    from events
    where event = 'reopened'

),

reopened as (

    select
        events.provider,
        events.account,
        events.meter,
        events.period_start,
        events.period_end,
        events.closed_at,
        min(reopenings.closed_at) as reopened_at
    from events
    inner join reopenings
        on events.provider = reopenings.provider
        and events.account = reopenings.account
        and reopenings.meter in ('', events.meter)
        and events.period_start >= reopenings.period_start
        and events.period_end <= reopenings.period_end
        and events.closed_at < reopenings.closed_at
    where events.event = 'closed'
    group by
        events.provider, events.account, events.meter, events.period_start, events.period_end, events.closed_at

),

final as (

    select
        events.*,
        reopened.reopened_at
    from events
    left join reopened
        on events.provider = reopened.provider
        and events.account = reopened.account
        and events.meter = reopened.meter
        and events.period_start = reopened.period_start
        and events.period_end = reopened.period_end
        and events.closed_at = reopened.closed_at
        and events.event = 'closed'
    where events.event <> 'reopened'

)

select * from final
