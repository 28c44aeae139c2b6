-- One row per usage bucket of a closed period, or of an open day that one depends on, and restatement of its quantity by the
-- vendor.
-- `corrected_on` is the day on which the correction was billed; it is null while no issued invoice covers the correction.
-- Longer than 200 lines: a bucket may be missing from the frozen quantities or from the current ones.

{%- set usage = usage_columns() %}

with

metered_usage as (

    select * from {{ ref('int_usage__metered') }}

),

events as (

    select * from {{ ref('int_usage__frozen_before') }}

),

closed_periods as (

    select * from {{ ref('int_billing__closed_periods') }}

),

spans as (

    select * from {{ ref('int_windows__merged') }}

),

billing_accounts as (

    select * from {{ ref('stg_billing__accounts') }}

),

skus as (

    select * from {{ ref('int_skus__mapped') }}

),

loaded as (

    select distinct
        provider,
        account
    from spans

),

open_days as (

    select events.*
    from events
    inner join loaded
        on events.provider = loaded.provider
        and events.account = loaded.account
    where events.timespan = 'period' and events.event = 'open'

),

periods as (

    {% for relation in ['closed_periods', 'open_days'] -%}
    select
        provider,
        account,
        meter,
        bucket_start,
        bucket_end,
        period_start,
        period_end
    from {{ relation }}
    {%- if not loop.last %}

    union all

    {% endif -%}
    {%- endfor %}

),

closed_accounts as (

    select distinct
        provider,
        account
    from periods

),

frozen as (

    select events.*
    from events
    inner join closed_accounts
        on events.provider = closed_accounts.provider
        and events.account = closed_accounts.account
    where events.timespan <> 'period'

),

present as (

    select metered_usage.*
    from metered_usage
    inner join closed_accounts
        on metered_usage.provider = closed_accounts.provider
        and metered_usage.account = closed_accounts.account

),

first_frozen as (

    select * from frozen
    where event in ('closed', 'open') and corrected_on is null

),

-- Corrections of usage can close on the same day one after the other: the last quantity counts.
closed_corrections as (

    select
        *,
        row_number() over (
            partition by {{ usage | join(', ') }}, corrected_on
            order by closed_at desc
        ) = 1 as is_last_of_day
    from frozen
    where event = 'closed' and corrected_on is not null

),

-- Usage that was absent when its period closed counts as frozen at 0.
corrected as (

    select
        frozen.*,
        case when coalesce(first_frozen.event, 'open') = 'open' then frozen.closed_at end as closed_with_usage_at,
        coalesce(
            lag(frozen.quantity) over (
                partition by {% for column in usage %}frozen.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
                order by frozen.corrected_on
            ),
            first_frozen.quantity,
            0
        ) as quantity_before,
        row_number() over (
            partition by {% for column in usage %}frozen.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
            order by frozen.corrected_on desc
        ) = 1 as is_last
    from closed_corrections as frozen
    left join first_frozen
        on {{ is_same_usage('frozen', 'first_frozen') }}
    where frozen.is_last_of_day

),

last_frozen as (

    select
        {% for column in usage %}first_frozen.{{ column }},
        {% endfor -%}
        first_frozen.timespan,
        coalesce(corrected.quantity, first_frozen.quantity) as quantity
    from first_frozen
    left join corrected
        on {{ is_same_usage('first_frozen', 'corrected') }}
        and corrected.is_last

    union all

    select
        {% for column in usage %}corrected.{{ column }},
        {% endfor -%}
        corrected.timespan,
        corrected.quantity
    from corrected
    left join first_frozen
        on {{ is_same_usage('corrected', 'first_frozen') }}
    where corrected.is_last and first_frozen.quantity is null

),

unequal as (

    select
        {% for column in usage + ['timespan'] %}coalesce(present.{{ column }}, last_frozen.{{ column }}) as {{ column }},
        {% endfor -%}
        coalesce(present.is_complete, true) as is_complete,
        cast(coalesce(last_frozen.quantity, 0) as numeric(28, 9)) as quantity_before,
        cast(coalesce(present.quantity, 0) as numeric(28, 9)) as quantity_after,
        last_frozen.quantity is not null as was_frozen
    from present
    full outer join last_frozen
        on {{ is_same_usage('present', 'last_frozen') }}
    where coalesce(present.quantity, 0) <> coalesce(last_frozen.quantity, 0)

),

-- If the timespan changed, such as from hours to days, the totals of days are compared.
daily as (

    select
        unequal.*,
        sum(quantity_after - quantity_before) over (
            partition by provider, account, meter, cast(bucket_start as date)
        ) as difference_of_day,
        min(timespan) over (partition by provider, account, meter, cast(bucket_start as date)) as shortest,
        max(timespan) over (partition by provider, account, meter, cast(bucket_start as date)) as longest
    from unequal

),

differing as (

    select * from daily
    where difference_of_day <> 0 or shortest = longest

),

-- Usage that was absent when its period closed. The join excludes usage of open periods, which is not frozen either.
late as (

    select distinct
        {% for column in usage %}differing.{{ column }},
        {% endfor -%}
        true as is_late
    from differing
    inner join periods
        on {{ is_in_period('differing', 'periods') }}
    where not differing.was_frozen

),

unioned as (

    select
        {% for column in usage %}differing.{{ column }},
        {% endfor -%}
        differing.timespan,
        differing.is_complete,
        cast(null as date) as corrected_on,
        differing.quantity_before,
        differing.quantity_after,
        cast(null as {{ type_utc() }}) as corrected_at,
        cast(null as {{ type_utc() }}) as closed_with_usage_at
    from differing
    left join late
        on {{ is_same_usage('differing', 'late') }}
    where differing.was_frozen or late.is_late

    union all

    select
        {{ usage | join(',\n        ') }},
        timespan,
        true as is_complete,
        corrected_on,
        cast(quantity_before as numeric(28, 9)) as quantity_before,
        cast(quantity as numeric(28, 9)) as quantity_after,
        closed_at as corrected_at,
        closed_with_usage_at
    from corrected

),

-- The first build that saw the quantity logged it.
discovered as (

    select
        {{ usage | join(',\n        ') }},
        quantity,
        min(closed_at) as discovered_at
    from frozen
    where event = 'restated'
    group by {{ usage | join(', ') }}, quantity

),

restatements as (

    select
        unioned.*,
        unioned.quantity_after as quantity,
        cast(null as bigint) as request_count,
        coalesce(discovered.discovered_at, unioned.corrected_at, {{ build_time() }}) as discovered_at,
        discovered.discovered_at is not null as is_logged
    from unioned
    left join discovered
        on {{ is_same_usage('unioned', 'discovered') }}
        and unioned.quantity_after = discovered.quantity

),

{{ metered('restatements', also=[
    'corrected_on', 'closed_with_usage_at', 'quantity_before', 'quantity_after', 'discovered_at', 'is_logged',
]) }},

final as (

    select * from metered

)

select * from final
