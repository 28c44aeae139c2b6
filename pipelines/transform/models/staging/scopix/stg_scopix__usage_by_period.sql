-- One row per account, period type, bucket and API key. Buckets of three lengths hold the same usage: pick one period type;
-- never add two of them up. The api_key_id '' is all keys together: never add it to the others.

with

usage_by_period as (

    select * from {{ raw_table('scopix', 'usage_by_period') }}

),

final as (

    select
        account,
        period_type,
        {{ to_utc('bucket_start') }} as bucket_start,
        {{ to_utc('bucket_end') }} as bucket_end,
        api_key_id,
        value,
        label,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from usage_by_period

)

select * from final
