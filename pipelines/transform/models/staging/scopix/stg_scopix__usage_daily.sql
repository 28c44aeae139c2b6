-- One row per account, date and API key. The api_key_id '' is all keys together: never add it to the others.

with

usage_daily as (

    select * from {{ raw_table('scopix', 'usage_daily') }}

),

final as (

    select
        account,
        date,
        api_key_id,
        total_requests,
        successful_requests,
        failed_requests,
        describe_count,
        verify_count,
        batch_count,
        avg_response_time_ms,
        total_credits,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from usage_daily

)

select * from final
