-- One row per account, meter and day of Acme.

with

usage_daily as (

    select * from {{ ref('stg_acme__usage_daily') }}

),

daily as (

    select
        account,
        date,
        sum(request_count) as request_count,
        min(case when is_complete then 1 else 0 end) = 1 as is_complete
    from usage_daily
    group by account, date

),

final as (

    select
        account,
        'requests' as meter,
        'day' as timespan,
        cast(date as {{ type_utc() }}) as bucket_start,
        cast({{ later('day', 1, 'cast(date as ' ~ type_utc() ~ ')') }} as {{ type_utc() }}) as bucket_end,
        cast(request_count as numeric(28, 9)) as quantity,
        cast(request_count as bigint) as request_count,
        is_complete
    from daily

)

select * from final
