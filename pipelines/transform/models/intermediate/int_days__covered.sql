-- One row per provider, account, table and date, from the first requested day to the last.
-- It distinguishes a day without usage from a day that no run requested. Unlike in `int_accounts__completed`, a day before a
-- gap counts as complete: its usage does not depend on the days after it, as the cost of a month does.

with

spans as (

    select * from {{ ref('int_windows__merged') }}

),

calendar as (

    {{ calendar() }}

),

metered_usage as (

    select * from {{ ref('int_usage__metered') }}

),

extents as (

    select
        provider,
        account,
        resource,
        count(distinct part) as parts,
        cast(min(span_start) as date) as first_date,
        max(span_end) as last_end
    from spans
    group by provider, account, resource

),

days as (

    select
        extents.provider,
        extents.account,
        extents.resource,
        extents.parts,
        calendar.date,
        cast(calendar.date as {{ type_utc() }}) as day_start,
        {{ later('day', 1, 'cast(calendar.date as ' ~ type_utc() ~ ')') }} as day_end
    from extents
    inner join calendar
        on calendar.date >= extents.first_date
        and calendar.date < extents.last_end

),

complete_parts as (

    select
        days.provider,
        days.account,
        days.resource,
        days.date,
        days.parts,
        count(distinct spans.part) as fetched_parts,
        count(distinct case
            when spans.span_start <= days.day_start and spans.complete_until >= days.day_end then spans.part
        end) as complete_parts
    from days
    left join spans
        on days.provider = spans.provider
        and days.account = spans.account
        and days.resource = spans.resource
        and days.day_end > spans.span_start
        and days.day_start < spans.span_end
    group by days.provider, days.account, days.resource, days.date, days.parts

),

-- The usage of a week or month has no date.
longer_buckets as (

    select distinct
        metered_usage.provider,
        metered_usage.account,
        {{ metered_table('metered_usage.provider', 'metered_usage.meter') }} as resource,
        calendar.date
    from metered_usage
    inner join calendar
        on calendar.date >= cast(metered_usage.bucket_start as date)
        and calendar.date < metered_usage.bucket_end
    where metered_usage.timespan in ('week', 'month')

),

final as (

    select
        complete_parts.provider,
        complete_parts.account,
        complete_parts.resource,
        complete_parts.date,
        complete_parts.fetched_parts > 0 as is_fetched,
        complete_parts.complete_parts = complete_parts.parts as is_complete,
        longer_buckets.date is not null as is_in_longer_bucket
    from complete_parts
    left join longer_buckets
        on complete_parts.provider = longer_buckets.provider
        and complete_parts.account = longer_buckets.account
        and complete_parts.resource = longer_buckets.resource
        and complete_parts.date = longer_buckets.date

)

select * from final
