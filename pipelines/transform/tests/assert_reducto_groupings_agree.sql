-- One row per account, organisation, date and grouping whose credits or requests differ from those by product.
-- Reducto does not document that its four groupings add up. The grouping by product is charged; this test shows where
-- another one differs, as it would if a response were cut at a number of rows. A day without rows counts as 0 credits in
-- every grouping that was requested for it.

{{ config(severity='warn') }}

with

usage as (

    select * from {{ ref('stg_reducto__usage') }}

),

fetched_windows as (

    select * from {{ ref('stg_providers__fetched_windows') }}
    where provider = 'reducto'

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

-- A fetched window makes a grouping known for its days, even without a row.
requested as (

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
    from requested

),

known as (

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

    select * from known
    where grouped_by = 'product'

),

final as (

    select
        known.account,
        known.org_id,
        known.date,
        known.grouped_by,
        known.credits,
        known.request_count,
        by_product.credits as product_credits,
        by_product.request_count as product_request_count
    from known
    left join by_product
        on known.account = by_product.account
        and known.org_id = by_product.org_id
        and known.date = by_product.date
    where
        by_product.date is null
        or known.credits <> by_product.credits
        or known.request_count <> by_product.request_count

)

select * from final
