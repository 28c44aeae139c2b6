-- One row per account and date.

with

tokens_daily as (

    select * from {{ raw_table('scopix', 'tokens_daily') }}

),

final as (

    select
        account,
        date,
        total_input_tokens,
        total_output_tokens,
        total_tokens,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from tokens_daily

)

select * from final
