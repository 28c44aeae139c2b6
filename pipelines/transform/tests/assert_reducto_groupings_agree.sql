-- One row per account, organisation, date and grouping whose credits or requests differ from those by product.
-- Nothing in Reducto's documentation promises that the four groupings add up to the same. The one by product is what gets
-- charged, and this says where another tells another story, as it would if an answer were cut at a number of rows.

{{ config(severity='warn') }}

with

usage as (

    select * from {{ ref('stg_reducto__usage') }}

),

daily as (

    select
        account,
        org_id,
        date,
        grouped_by,
        sum(coalesce(credits, 0)) as credits,
        sum(request_count) as request_count
    from usage
    group by account, org_id, date, grouped_by

),

by_product as (

    select * from daily
    where grouped_by = 'product'

),

final as (

    select
        daily.account,
        daily.org_id,
        daily.date,
        daily.grouped_by,
        daily.credits,
        daily.request_count,
        by_product.credits as product_credits,
        by_product.request_count as product_request_count
    from daily
    left join by_product
        on daily.account = by_product.account
        and daily.org_id = by_product.org_id
        and daily.date = by_product.date
    where
        by_product.date is null
        or daily.credits <> by_product.credits
        or daily.request_count <> by_product.request_count

)

select * from final
