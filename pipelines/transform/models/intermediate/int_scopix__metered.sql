-- One row per account, meter and bucket of Scopix.
-- Credits come from the summary of each day, requests from the hours, tokens from the days. If the summary of a day states
-- no credits, its requests are a meter without a price, and the credits are not 0.
-- Days and hours are requested in one of two scopes: all API keys together (key ''), or key by key. After a change of the
-- scope there may be rows of both, and the last rows of the former scope may cover half a day. The scope that was requested
-- last is used wherever it was requested, the other one in the time before.
-- Longer than 200 lines: it finds the requested scope before it reads days, hours and tokens.

with

usage_daily as (

    select * from {{ ref('stg_scopix__usage_daily') }}

),

usage_by_period as (

    select * from {{ ref('stg_scopix__usage_by_period') }}

),

tokens_daily as (

    select * from {{ ref('stg_scopix__tokens_daily') }}

),

fetched_windows as (

    select * from {{ ref('stg_providers__fetched_windows') }}
    where provider = 'scopix'

),

-- The partition of a day is its API key; the partition of an hour is `hour` and the API key.
requested as (

    select
        account,
        case when resource = 'usage_daily' then 'day' else 'hour' end as timespan,
        case when trim(part) in ('', 'hour') then 1 else 0 end as is_of_all_keys,
        window_start,
        window_end,
        fetched_at
    from fetched_windows
    where resource = 'usage_daily' or (resource = 'usage_by_period' and part like 'hour%')

),

scopes as (

    select
        account,
        timespan,
        is_of_all_keys,
        row_number() over (
            partition by account, timespan
            order by max(fetched_at) desc, is_of_all_keys desc
        ) as preference
    from requested
    group by account, timespan, is_of_all_keys

),

preceded as (

    select
        requested.account,
        requested.timespan,
        requested.is_of_all_keys,
        requested.window_start,
        requested.window_end,
        max(requested.window_end) over (
            partition by requested.account, requested.timespan
            order by requested.window_start, requested.window_end
            rows between unbounded preceding and 1 preceding
        ) as covered_until
    from requested
    inner join scopes
        on requested.account = scopes.account
        and requested.timespan = scopes.timespan
        and requested.is_of_all_keys = scopes.is_of_all_keys
    where scopes.preference = 1

),

numbered as (

    select
        account,
        timespan,
        is_of_all_keys,
        window_start,
        window_end,
        sum(case when covered_until is null or window_start > covered_until then 1 else 0 end) over (
            partition by account, timespan
            order by window_start, window_end
            rows between unbounded preceding and current row
        ) as span
    from preceded

),

-- The times for which the latest scope was requested, as spans that do not touch.
spans as (

    select
        account,
        timespan,
        is_of_all_keys,
        min(window_start) as span_start,
        max(window_end) as span_end
    from numbered
    group by account, timespan, is_of_all_keys, span

),

days as (

    select
        account,
        case when total_credits is null and total_requests > 0 then 'unrated-requests' else 'credits' end as meter,
        'day' as timespan,
        cast(date as {{ type_utc() }}) as bucket_start,
        api_key_id,
        case
            when total_credits is null then cast(total_requests as numeric(28, 9))
            else cast(total_credits as numeric(28, 9))
        end as quantity,
        cast(total_requests as numeric(28, 9)) as request_count,
        is_complete
    from usage_daily

),

hours as (

    select
        account,
        'requests' as meter,
        'hour' as timespan,
        bucket_start,
        api_key_id,
        cast(value as numeric(28, 9)) as quantity,
        cast(value as numeric(28, 9)) as request_count,
        is_complete
    from usage_by_period
    where period_type = 'hour'

),

counted as (

    select * from days
    union all
    select * from hours

),

of_latest_scope as (

    select
        counted.account,
        counted.meter,
        counted.timespan,
        counted.bucket_start,
        counted.quantity,
        counted.request_count,
        counted.is_complete
    from counted
    left join spans
        on counted.account = spans.account
        and counted.timespan = spans.timespan
        and counted.bucket_start >= spans.span_start
        and counted.bucket_start < spans.span_end
    where
        spans.account is null
        or spans.is_of_all_keys = case when counted.api_key_id = '' then 1 else 0 end

),

used as (

    select
        account,
        meter,
        timespan,
        bucket_start,
        cast(sum(quantity) as numeric(28, 9)) as quantity,
        cast(sum(request_count) as bigint) as request_count,
        min(case when is_complete then 1 else 0 end) = 1 as is_complete
    from of_latest_scope
    group by account, meter, timespan, bucket_start

),

tokens as (

    {% for meter, column in {
        'input-tokens': 'total_input_tokens',
        'output-tokens': 'total_output_tokens',
    }.items() -%}
    select
        account,
        '{{ meter }}' as meter,
        'day' as timespan,
        cast(date as {{ type_utc() }}) as bucket_start,
        cast({{ column }} as numeric(28, 9)) as quantity,
        cast(null as bigint) as request_count,
        is_complete
    from tokens_daily
    {%- if not loop.last %}
    union all
    {% endif -%}
    {%- endfor %}

),

unioned as (

    select * from used
    union all
    select * from tokens

),

final as (

    select
        account,
        meter,
        timespan,
        bucket_start,
        cast(
            case
                when timespan = 'hour' then {{ later('hour', 1, 'bucket_start') }}
                else {{ later('day', 1, 'bucket_start') }}
            end as {{ type_utc() }}
        ) as bucket_end,
        quantity,
        request_count,
        is_complete
    from unioned

)

select * from final
