-- One row per account and event: a request to the API. An event has neither credits nor tokens.

with

usage_events as (

    select * from {{ raw_table('scopix', 'usage_events') }}

),

final as (

    select
        account,
        id as event_id,
        {{ to_utc('timestamp') }} as occurred_at,
        operation_type,
        endpoint,
        method,
        status_code,
        response_time_ms,
        error_code,
        api_key_id,
        provider,
        model,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from usage_events

)

select * from final
