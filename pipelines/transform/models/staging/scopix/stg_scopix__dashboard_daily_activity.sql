-- One row per account and date.

with

dashboard_daily_activity as (

    select * from {{ raw_table('scopix', 'dashboard_daily_activity') }}

),

final as (

    select
        account,
        date,
        files_uploaded,
        chat_messages,
        is_complete,
        {{ to_utc('fetched_at') }} as fetched_at
    from dashboard_daily_activity

)

select * from final
