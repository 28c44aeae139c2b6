-- One row per account, dimension, value, date and meter of Onepin.
-- Only runs have dimensions. Languages are reported for overlapping rolling periods, which cannot be divided into days, and
-- the activity feed has no credits, characters or language. The feed has an event for each run that ended. Onepin does not
-- document that it lists all of them, and it dates a run by its end, while the daily total may date it by its start: the
-- difference becomes the remainder of the day. Dates are in the time zone that the days are requested in.

with

usage_activity as (

    select * from {{ ref('stg_onepin__usage_activity') }}

),

fetched_windows as (

    select * from {{ ref('stg_providers__fetched_windows') }}
    where provider = 'onepin'

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
