-- One row per usage bucket and interval in which the vendor changed its quantity. An interval lies between two closings of
-- the billing account. The buckets are those of closed periods, and of open days that a closed period depends on.
-- `interval_no` numbers the intervals that have changes. The last one may not have ended. Periods that close at the end of
-- an interval or later are billed with `quantity_after`. Closings of periods that were reopened later end intervals, too.
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

frozen as (

    select events.*
    from events
    inner join loaded
        on events.provider = loaded.provider
        and events.account = loaded.account

),

periods as (

    select * from frozen
    where timespan = 'period' and event in ('closed', 'open')

),

versions as (

    select
        {{ usage | join(',\n        ') }},
        timespan,
        quantity,
        closed_at,
        lag(quantity) over (
            partition by {{ usage | join(', ') }}
            order by closed_at, case when event = 'restated' then 0 else 1 end
        ) as quantity_before,
        row_number() over (
            partition by {{ usage | join(', ') }}
            order by closed_at desc, case when event = 'restated' then 1 else 0 end
        ) = 1 as is_last,
        event = 'restated' as is_restated
    from frozen
    where timespan <> 'period'

),

last_frozen as (

    select * from versions
    where is_last

),

frozen_accounts as (

    select distinct
        provider,
        account
    from periods

),

present as (

    select metered_usage.*
    from metered_usage
    inner join frozen_accounts
        on metered_usage.provider = frozen_accounts.provider
        and metered_usage.account = frozen_accounts.account

),

unequal as (

    select
        {% for column in usage + ['timespan'] %}coalesce(present.{{ column }}, last_frozen.{{ column }}) as {{ column }},
        {% endfor -%}
        coalesce(present.is_complete, true) as is_complete,
        coalesce(last_frozen.quantity, 0) as quantity_before,
        coalesce(present.quantity, 0) as quantity_after,
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

-- Usage that was absent when its period closed counts as frozen at 0.
changes as (

    select
        {{ usage | join(',\n        ') }},
        timespan,
        true as is_complete,
        coalesce(quantity_before, 0) as quantity_before,
        quantity as quantity_after,
        closed_at as discovered_at,
        true as is_logged
    from versions
    where quantity <> quantity_before or (quantity_before is null and is_restated)

    union all

    select
        {% for column in usage %}differing.{{ column }},
        {% endfor -%}
        differing.timespan,
        differing.is_complete,
        differing.quantity_before,
        differing.quantity_after,
        {{ event_time() }} as discovered_at,
        false as is_logged
    from differing
    left join late
        on {{ is_same_usage('differing', 'late') }}
    where differing.was_frozen or late.is_late

),

changed as (

    select
        *,
        quantity_after as quantity,
        cast(null as bigint) as request_count
    from changes

),

{{ metered('changed', also=['quantity_before', 'quantity_after', 'discovered_at', 'is_logged']) }},

closings as (

    select distinct
        provider,
        billing_account,
        closed_at
    from closed_periods

),

intervals as (

    select
        {% for column in usage + ['billing_account', 'discovered_at'] %}metered.{{ column }},
        {% endfor -%}
        min(closings.closed_at) as closing_at
    from metered
    left join closings
        on metered.provider = closings.provider
        and metered.billing_account = closings.billing_account
        and metered.discovered_at <= closings.closed_at
    group by {% for column in usage + ['billing_account', 'discovered_at'] %}metered.{{ column }}{{ ', ' if not loop.last }}{% endfor %}

),

numbered as (

    select
        *,
        dense_rank() over (
            partition by provider, billing_account
            order by case when closing_at is null then 1 else 0 end, closing_at
        ) as interval_no
    from intervals

),

{%- set interval = 'metered.provider, metered.account, metered.meter, metered.bucket_start, metered.bucket_end, numbered.interval_no' %}

added_up as (

    select
        metered.*,
        numbered.interval_no,
        numbered.closing_at,
        sum(metered.quantity_after - metered.quantity_before) over (partition by {{ interval }}) as difference,
        row_number() over (partition by {{ interval }} order by metered.discovered_at desc) = 1 as is_last
    from metered
    inner join numbered
        on {{ is_same_usage('metered', 'numbered') }}
        and metered.discovered_at = numbered.discovered_at

),

final as (

    select
        provider,
        billing_account,
        account,
        billing_timezone,
        meter,
        timespan,
        bucket_start,
        bucket_end,
        billing_date,
        billing_month,
        sku_id,
        highest_priced_sku_id,
        unit,
        quantity,
        request_count,
        is_billed,
        is_complete,
        cast(interval_no as integer) as interval_no,
        closing_at,
        cast(quantity_after - difference as numeric(28, 9)) as quantity_before,
        cast(quantity_after as numeric(28, 9)) as quantity_after,
        discovered_at,
        is_logged
    from added_up
    where is_last and (difference <> 0 or not is_logged)

)

select * from final
