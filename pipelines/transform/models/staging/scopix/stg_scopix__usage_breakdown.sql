-- One row per account and day of the snapshot: the credits of the running billing period.

with

usage_breakdown as (

    select * from {{ raw_table('scopix', 'usage_breakdown') }}

),

final as (

    select
        account,
        snapshot_date,
        current_month,
        total_credits_used,
        monthly_limit,
        remaining_credits,
        usage_percentage,
        {{ to_utc('reset_date') }} as reset_date,
        by_verification_level,
        by_operation_type,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from usage_breakdown

)

select * from final
