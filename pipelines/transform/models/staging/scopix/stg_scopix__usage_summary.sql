-- One row per account, day of the snapshot and period. A running period is as of the last request of that day.

with

usage_summary as (

    select * from {{ raw_table('scopix', 'usage_summary') }}

),

final as (

    select
        account,
        snapshot_date,
        period,
        {{ to_utc('period_start') }} as period_start,
        {{ to_utc('period_end') }} as period_end,
        total_requests,
        successful_requests,
        failed_requests,
        describe_count,
        verify_count,
        batch_count,
        avg_response_time_ms,
        total_credits,
        monthly_limit,
        used_this_month,
        remaining,
        percentage_used,
        plan_name,
        plan_requests_limit,
        plan_requests_used,
        plan_requests_remaining,
        plan_usage_percentage,
        {{ to_utc('plan_renewal_date') }} as plan_renewal_date,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from usage_summary

)

select * from final
