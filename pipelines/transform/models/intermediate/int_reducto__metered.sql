-- One row per account, meter and day of Reducto.
-- The grouping by product is authoritative. Organisations are summed: they belong to one configured account. Reducto bills
-- credits for every product, so credits are one meter. If it counts requests and states no credits (accounts on the pricing
-- of September 2026), the requests are a meter without a price, and the credits are not 0.

with

usage as (

    select * from {{ ref('stg_reducto__usage') }}

),

by_product as (

    select
        account,
        date,
        case when is_unrated then 'unrated-requests' else 'credits' end as meter,
        case when is_unrated then request_count else credits end as quantity,
        request_count,
        is_complete
    from usage
    where grouped_by = 'product'

),

daily as (

    select
        account,
        meter,
        date,
        cast(sum(coalesce(quantity, 0)) as numeric(28, 9)) as quantity,
        cast(sum(request_count) as bigint) as request_count,
        min(case when is_complete then 1 else 0 end) = 1 as is_complete
    from by_product
    group by account, meter, date

),

final as (

    select
        account,
        meter,
        'day' as timespan,
        cast(date as {{ type_utc() }}) as bucket_start,
        cast({{ later('day', 1, 'cast(date as ' ~ type_utc() ~ ')') }} as {{ type_utc() }}) as bucket_end,
        quantity,
        request_count,
        is_complete
    from daily

)

select * from final
