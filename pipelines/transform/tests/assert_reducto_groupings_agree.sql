-- One row per account, organisation, date and grouping whose credits or requests differ from those by product.
-- Nothing in Reducto's documentation promises that the four groupings add up to the same. The one by product is what gets
-- charged, and this says where another tells another story, as it would if an answer were cut at a number of rows. A day
-- that a grouping was asked for and lacks altogether is one of 0 credits.

{{ config(severity='warn') }}

with

usage as (

    select * from {{ ref('stg_reducto__usage') }}

),

fetched_windows as (

    select * from {{ ref('stg_reducto__fetched_windows') }}

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

days as (

    select distinct
        account,
        org_id,
        date
    from daily

),

-- A grouping has said something of a day where a window of it was fetched, even if it had no row.
asked as (

    select
        account,
        org_id,
        date,
        grouped_by
    from daily
    union all
    select
        days.account,
        days.org_id,
        days.date,
        replace(fetched_windows.resource, 'usage_by_', '') as grouped_by
    from days
    inner join fetched_windows
        on days.account = fetched_windows.account
        and days.org_id = fetched_windows.part
        and cast(days.date as {{ type_utc() }}) >= fetched_windows.window_start
        and cast(days.date as {{ type_utc() }}) < fetched_windows.window_end

),

expected as (

    select distinct
        account,
        org_id,
        date,
        grouped_by
    from asked

),

told as (

    select
        expected.account,
        expected.org_id,
        expected.date,
        expected.grouped_by,
        coalesce(daily.credits, 0) as credits,
        coalesce(daily.request_count, 0) as request_count
    from expected
    left join daily
        on expected.account = daily.account
        and expected.org_id = daily.org_id
        and expected.date = daily.date
        and expected.grouped_by = daily.grouped_by

),

by_product as (

    select * from told
    where grouped_by = 'product'

),

final as (

    select
        told.account,
        told.org_id,
        told.date,
        told.grouped_by,
        told.credits,
        told.request_count,
        by_product.credits as product_credits,
        by_product.request_count as product_request_count
    from told
    left join by_product
        on told.account = by_product.account
        and told.org_id = by_product.org_id
        and told.date = by_product.date
    where
        by_product.date is null
        or told.credits <> by_product.credits
        or told.request_count <> by_product.request_count

)

select * from final
