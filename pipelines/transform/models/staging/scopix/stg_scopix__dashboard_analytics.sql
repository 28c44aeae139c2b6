-- One row per account, day of the snapshot and period: the vendor's dashboard, over rolling periods that overlap.

with

dashboard_analytics as (

    select * from {{ raw_table('scopix', 'dashboard_analytics') }}

),

final as (

    select
        account,
        snapshot_date,
        period,
        {{ to_utc('period_start') }} as period_start,
        {{ to_utc('period_end') }} as period_end,
        total_chat_messages,
        total_files_uploaded,
        total_chat_sessions,
        avg_processing_time_ms,
        success_rate,
        processing_tokens,
        chat_tokens,
        total_tokens,
        current_month_chat_tokens,
        max_monthly_chat_tokens,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from dashboard_analytics

)

select * from final
