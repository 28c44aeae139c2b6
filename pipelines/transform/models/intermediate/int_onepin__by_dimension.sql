-- One row per account, dimension, value, date and meter of Onepin.
-- Only runs have dimensions. Languages are told of rolling periods that overlap, from which no day can be had, and the
-- activity names neither credits nor characters nor a language. It has an event for each run that ended, which is not
-- documented to be all of them, and dates it by its end, while the daily total may count a run by its start: what does not
-- meet is left to the remainder of its day. Dates are those of the time zone in which the days are asked for.

with

usage_activity as (

    select * from {{ ref('stg_onepin__usage_activity') }}

),

fetched_windows as (

    select * from {{ ref('stg_onepin__fetched_windows') }}

),

ranked_timezones as (

    select
        account,
        {{ dbt.split_part('part', "'|'", 2) }} as timezone,
        row_number() over (partition by account order by max(fetched_at) desc, part) as preference
    from fetched_windows
    where resource = 'usage_daily'
    group by account, part

),

runs as (

    select
        usage_activity.*,
        {{ local_date('usage_activity.occurred_at', "coalesce(ranked_timezones.timezone, 'UTC')") }} as date
    from usage_activity
    left join ranked_timezones
        on usage_activity.account = ranked_timezones.account
        and ranked_timezones.preference = 1
    where usage_activity.action = 'workflow_run'

),

valued as (

    {% for dimension, column in {'user_id': 'user_id', 'workflow_id': 'resource_id', 'outcome': 'kind'}.items() -%}
    select
        account,
        '{{ dimension }}' as dimension,
        coalesce({{ column }}, '') as value,
        date
    from runs
    {%- if not loop.last %}
    union all
    {% endif -%}
    {%- endfor %}

),

final as (

    select
        account,
        dimension,
        value,
        date,
        'runs' as meter,
        cast(count(*) as numeric(28, 9)) as quantity
    from valued
    group by account, dimension, value, date

)

select * from final
