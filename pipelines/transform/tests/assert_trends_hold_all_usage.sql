-- One row per day of usage that is missing from the trends or differs there.

with

usage_daily as (

    select * from {{ ref('usage_daily') }}

),

usage_trends_daily as (

    select * from {{ ref('usage_trends_daily') }}

),

final as (

    select
        usage_daily.provider,
        usage_daily.account,
        usage_daily.meter,
        usage_daily.date
    from usage_daily
    left join usage_trends_daily
        on usage_daily.provider = usage_trends_daily.provider
        and usage_daily.account = usage_trends_daily.account
        and usage_daily.meter = usage_trends_daily.meter
        and usage_daily.date = usage_trends_daily.date
    where usage_trends_daily.quantity is null or usage_trends_daily.quantity <> usage_daily.quantity

)

select * from final
