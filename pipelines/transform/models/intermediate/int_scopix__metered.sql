-- One row per account, meter and bucket of Scopix.
-- Credits come from the summary of each day, requests from the hours, tokens from the days. Where an account was asked
-- for as a whole (an API key of ''), that holds; where single keys were asked for, their sum does.

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

days as (

    select
        *,
        min(api_key_id) over (partition by account, date) as first_api_key_id
    from usage_daily

),

hours as (

    select
        *,
        min(api_key_id) over (partition by account, bucket_start) as first_api_key_id
    from usage_by_period
    where period_type = 'hour'

),

credits as (

    select
        account,
        'credits' as meter,
        'day' as timespan,
        cast(date as {{ dbt.type_timestamp() }}) as bucket_start,
        cast(sum(total_credits) as numeric(28, 9)) as quantity,
        cast(sum(total_requests) as bigint) as request_count,
        min(case when is_complete then 1 else 0 end) = 1 as is_complete
    from days
    where api_key_id = '' or first_api_key_id <> ''
    group by account, date

),

requests as (

    select
        account,
        'requests' as meter,
        'hour' as timespan,
        bucket_start,
        cast(sum(value) as numeric(28, 9)) as quantity,
        cast(sum(value) as bigint) as request_count,
        min(case when is_complete then 1 else 0 end) = 1 as is_complete
    from hours
    where api_key_id = '' or first_api_key_id <> ''
    group by account, bucket_start

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
        cast(date as {{ dbt.type_timestamp() }}) as bucket_start,
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

    select * from credits
    union all
    select * from requests
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
                when timespan = 'hour' then {{ dbt.dateadd('hour', 1, 'bucket_start') }}
                else {{ dbt.dateadd('day', 1, 'bucket_start') }}
            end as {{ dbt.type_timestamp() }}
        ) as bucket_end,
        quantity,
        request_count,
        is_complete
    from unioned

)

select * from final
