-- One row per account, meter and day of Onepin.
-- Its one authoritative table is the daily one; the weekly and monthly buckets hold the same usage again. Days are those
-- of the configured time zone: a day begins at its local midnight, which stands here as if it were UTC.
-- A time zone that was changed has left two histories. The one that was fetched last holds; the other fills in the days
-- before it, which Onepin no longer tells.

with

usage_daily as (

    select * from {{ ref('stg_onepin__usage_daily') }}

),

fetched_windows as (

    select * from {{ ref('stg_onepin__fetched_windows') }}

),

-- Of the log of fetches, because a row keeps the time at which it came to read as it does.
timezones as (

    select
        account,
        part as timezone,
        max(fetched_at) as last_fetched_at
    from fetched_windows
    where resource = 'usage_daily'
    group by account, part

),

ranked as (

    select
        usage_daily.account,
        usage_daily.date,
        usage_daily.credits,
        usage_daily.character_count,
        usage_daily.line_count,
        usage_daily.run_count,
        usage_daily.is_complete,
        row_number() over (
            partition by usage_daily.account, usage_daily.date
            order by
                case when timezones.last_fetched_at is null then 1 else 0 end,
                timezones.last_fetched_at desc,
                usage_daily.timezone
        ) as preference
    from usage_daily
    left join timezones
        on usage_daily.account = timezones.account
        and usage_daily.timezone = timezones.timezone

),

metered as (

    {% for meter, column in {
        'credits': 'credits',
        'characters': 'character_count',
        'lines': 'line_count',
        'runs': 'run_count',
    }.items() -%}
    select
        account,
        '{{ meter }}' as meter,
        date,
        cast({{ column }} as numeric(28, 9)) as quantity,
        is_complete
    from ranked
    where preference = 1
    {%- if not loop.last %}
    union all
    {% endif -%}
    {%- endfor %}

),

final as (

    select
        account,
        meter,
        'day' as timespan,
        cast(date as {{ dbt.type_timestamp() }}) as bucket_start,
        cast({{ dbt.dateadd('day', 1, 'cast(date as ' ~ dbt.type_timestamp() ~ ')') }} as {{ dbt.type_timestamp() }}) as bucket_end,
        quantity,
        cast(null as bigint) as request_count,
        is_complete
    from metered

)

select * from final
