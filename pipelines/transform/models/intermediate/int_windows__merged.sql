-- One row per provider, account, table, partition and span of adjoining windows.
-- It covers only tables that usage is read from, and partitions that runs still request. A partition that never returned a
-- response has a row without a span. Completeness of days and months is derived from these spans.

with

windows as (

    select * from {{ ref('stg_providers__fetched_windows') }}

),

metered_windows as (

    select * from windows
    where
        is_current
        and {{ is_metered_window() | indent(4) }}

),

preceded as (

    select
        *,
        max(complete_until) over (
            partition by provider, account, resource, part
            order by window_start, complete_until
            rows between unbounded preceding and 1 preceding
        ) as covered_until
    from metered_windows

),

-- A request without a response has neither start nor end. It starts no span, wherever the engine sorts nulls.
numbered as (

    select
        *,
        sum(case when window_start > covered_until then 1 else 0 end) over (
            partition by provider, account, resource, part
            order by window_start, complete_until
            rows between unbounded preceding and current row
        ) as span_no
    from preceded

),

-- Usage of a span after `complete_until` was still growing when it was fetched.
final as (

    select
        provider,
        account,
        resource,
        part,
        min(window_start) as span_start,
        max(complete_until) as complete_until,
        max(window_end) as span_end
    from numbered
    group by provider, account, resource, part, span_no

)

select * from final
