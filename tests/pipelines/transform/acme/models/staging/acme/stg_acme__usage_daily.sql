-- One row per account, date and API key.

with

usage_daily as (

    select * from {{ raw_table('acme', 'usage_daily') }}

),

final as (

    select
        account,
        date,
        api_key,
        requests as request_count,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from usage_daily

)

select * from final
