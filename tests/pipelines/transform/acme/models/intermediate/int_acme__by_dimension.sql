-- One row per account, dimension, value, date and meter of Acme.

with

usage_daily as (

    select * from {{ ref('stg_acme__usage_daily') }}

),

final as (

    select
        account,
        'api_key' as dimension,
        api_key as value,
        date,
        'requests' as meter,
        cast(sum(request_count) as numeric(28, 9)) as quantity
    from usage_daily
    group by account, api_key, date

)

select * from final
