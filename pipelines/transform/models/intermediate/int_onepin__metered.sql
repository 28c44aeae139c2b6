-- One row per account, meter and day of Onepin.
-- The daily table is authoritative; the weekly and monthly buckets hold the same usage again. A day starts at midnight of
-- the configured time zone, written as if it were UTC.
-- After a change of the time zone there are two histories. The one that was fetched last is used wherever it was fetched,
-- including days without a row. The other one fills the days before, which Onepin no longer returns.
-- An account whose key was replaced by another workspace's has the usage of both workspaces.

with

usage_daily as (

    select * from {{ ref('stg_onepin__usage_daily') }}

),

fetched_windows as (

    select * from {{ ref('stg_providers__fetched_windows') }}
    where provider = 'onepin'

),

-- From the log of fetches, because an unchanged row keeps its first `fetched_at`, and an idle day has no row.
windows as (

    select
        account,
        {{ dbt.split_part('part', "'|'", 1) }} as workspace_id,
        {{ dbt.split_part('part', "'|'", 2) }} as timezone,
        window_start,
        window_end,
        max(fetched_at) over (partition by account, part) as last_fetched_at
    from fetched_windows
    where resource = 'usage_daily' and window_start is not null

),

timezones as (

    select
        account,
        workspace_id,
        timezone,
        max(last_fetched_at) as last_fetched_at
    from windows
    group by account, workspace_id, timezone

),

known as (

    select
        usage_daily.account,
        usage_daily.workspace_id,
        usage_daily.timezone,
        usage_daily.date,
        usage_daily.credits,
        usage_daily.character_count,
        usage_daily.line_count,
        usage_daily.run_count,
        usage_daily.is_complete,
        timezones.last_fetched_at
    from usage_daily
    left join timezones
        on usage_daily.account = timezones.account
        and usage_daily.workspace_id = timezones.workspace_id
        and usage_daily.timezone = timezones.timezone

),

superseded as (

    select distinct
        known.account,
        known.workspace_id,
        known.timezone,
        known.date
    from known
    inner join windows
        on known.account = windows.account
        and known.workspace_id = windows.workspace_id
        and known.timezone <> windows.timezone
        and cast(known.date as {{ type_utc() }}) >= windows.window_start
        and cast(known.date as {{ type_utc() }}) < windows.window_end
    where known.last_fetched_at is null or known.last_fetched_at < windows.last_fetched_at

),

ranked as (

    select
        known.account,
        known.date,
        known.credits,
        known.character_count,
        known.line_count,
        known.run_count,
        known.is_complete,
        row_number() over (
            partition by known.account, known.workspace_id, known.date
            order by
                case when known.last_fetched_at is null then 1 else 0 end,
                known.last_fetched_at desc,
                known.timezone
        ) as preference
    from known
    left join superseded
        on known.account = superseded.account
        and known.workspace_id = superseded.workspace_id
        and known.timezone = superseded.timezone
        and known.date = superseded.date
    where superseded.date is null

),

daily as (

    select
        account,
        date,
        sum(credits) as credits,
        sum(character_count) as character_count,
        sum(line_count) as line_count,
        sum(run_count) as run_count,
        min(case when is_complete then 1 else 0 end) = 1 as is_complete
    from ranked
    where preference = 1
    group by account, date

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
    from daily
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
        cast(date as {{ type_utc() }}) as bucket_start,
        cast({{ later('day', 1, 'cast(date as ' ~ type_utc() ~ ')') }} as {{ type_utc() }}) as bucket_end,
        quantity,
        cast(null as bigint) as request_count,
        is_complete
    from metered

)

select * from final
