-- One row per account, day of the snapshot and period.

with

plan_utilization as (

    select * from {{ raw_table('scopix', 'plan_utilization') }}

),

final as (

    select
        account,
        snapshot_date,
        period,
        {{ to_utc('billing_start') }} as billing_start,
        {{ to_utc('billing_end') }} as billing_end,
        days_remaining,
        {{ to_utc('renewal_date') }} as renewal_date,
        plan_name,
        monthly_requests_limit,
        requests_used,
        requests_remaining,
        usage_percentage,
        features,
        projected_monthly_requests,
        will_exceed_limit,
        trending,
        suggestions,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from plan_utilization

)

select * from final
