-- One row per account and day of the snapshot: whether Scopix would have allowed the configured operation.

with

usage_checks as (

    select * from {{ raw_table('scopix', 'usage_checks') }}

),

final as (

    select
        account,
        snapshot_date,
        analysis_level,
        item_count,
        content_category,
        can_proceed,
        current_usage,
        monthly_limit,
        required_credits,
        available_credits,
        prepaid_credits,
        {{ to_utc('reset_date') }} as reset_date,
        message,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from usage_checks

)

select * from final
