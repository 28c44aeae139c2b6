-- One row per account and file.

with

file_tokens as (

    select * from {{ raw_table('scopix', 'file_tokens') }}

),

final as (

    select
        account,
        image_id,
        filename,
        input_tokens,
        output_tokens,
        total_tokens,
        {{ to_utc('created_at') }} as created_at,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from file_tokens

)

select * from final
