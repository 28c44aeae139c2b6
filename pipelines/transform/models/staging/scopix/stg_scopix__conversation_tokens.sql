-- One row per account and conversation. A conversation that continues after the lookback of the loader keeps the tokens seen
-- last.

with

conversation_tokens as (

    select * from {{ raw_table('scopix', 'conversation_tokens') }}

),

final as (

    select
        account,
        session_id,
        title,
        input_tokens,
        output_tokens,
        total_tokens,
        message_count,
        {{ to_utc('created_at') }} as created_at,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from conversation_tokens

)

select * from final
