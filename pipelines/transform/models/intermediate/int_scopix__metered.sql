-- One row per account, meter and bucket of Scopix.
-- Credits come from the summary of each day, requests from the hours, tokens from the days. Requests of a day whose
-- summary states no credits are a meter that nobody can price, and not 0 credits.
-- Days and hours are asked for in one of two manners: all API keys together (an API key of ''), or key by key. Where the
-- manner was changed there may be rows of both, and what the former one left behind can be of half a day. So the manner
-- that was asked in last holds wherever it was asked in, and the other one in the time before.

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

    select * from {{ ref('stg_scopix__fetched_windows') }}

),

-- A part of the days is called as its API key, a part of the hours `hour` and its API key.
asked as (

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

manners as (

    select
        account,
        timespan,
        is_of_all_keys,
        row_number() over (
            partition by account, timespan
            order by max(fetched_at) desc, is_of_all_keys desc
        ) as preference
    from asked
    group by account, timespan, is_of_all_keys

),

preceded as (

    select
        asked.account,
        asked.timespan,
        asked.is_of_all_keys,
        asked.window_start,
        asked.window_end,
        max(asked.window_end) over (
            partition by asked.account, asked.timespan
            order by asked.window_start, asked.window_end
            rows between unbounded preceding and 1 preceding
        ) as covered_until
    from asked
    inner join manners
        on asked.account = manners.account
        and asked.timespan = manners.timespan
        and asked.is_of_all_keys = manners.is_of_all_keys
    where manners.preference = 1

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

-- Where the manner that holds was asked in, as spans that do not touch.
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

of_keys as (

    select * from days
    union all
    select * from hours

),

held as (

    select
        of_keys.account,
        of_keys.meter,
        of_keys.timespan,
        of_keys.bucket_start,
        of_keys.quantity,
        of_keys.request_count,
        of_keys.is_complete
    from of_keys
    left join spans
        on of_keys.account = spans.account
        and of_keys.timespan = spans.timespan
        and of_keys.bucket_start >= spans.span_start
        and of_keys.bucket_start < spans.span_end
    where
        spans.account is null
        or spans.is_of_all_keys = case when of_keys.api_key_id = '' then 1 else 0 end

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
    from held
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
