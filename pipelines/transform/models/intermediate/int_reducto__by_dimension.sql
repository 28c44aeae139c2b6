-- One row per account, dimension, value, date and meter of Reducto.
-- Each grouping is a dimension, of credits and of requests. If Reducto counts requests and states no credits, only the
-- requests are known: the credits are not 0.

with

usage as (

    select * from {{ ref('stg_reducto__usage') }}

),

measured as (

    select
        account,
        grouped_by as dimension,
        dimension_value as value,
        date,
        'credits' as meter,
        coalesce(credits, 0) as quantity
    from usage
    where not is_unrated

    union all

    select
        account,
        grouped_by as dimension,
        dimension_value as value,
        date,
        'requests' as meter,
        request_count as quantity
    from usage

),

final as (

    select
        account,
        dimension,
        value,
        date,
        meter,
        cast(sum(quantity) as numeric(28, 9)) as quantity
    from measured
    group by account, dimension, value, date, meter

)

select * from final
