-- One row per account and calendar month. The same tokens are in `tokens_daily`: never add the two up.

with

tokens_monthly as (

    select * from {{ raw_table('scopix', 'tokens_monthly') }}

),

final as (

    select
        account,
        {{ to_utc('bucket_start') }} as bucket_start,
        {{ to_utc('bucket_end') }} as bucket_end,
        total_input_tokens,
        total_output_tokens,
        total_tokens,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from tokens_monthly

)

select * from final
