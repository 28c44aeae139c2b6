-- One row per account, meter and day of Reducto.
-- The grouping by product is authoritative. Organisations are summed: they belong to one configured account. Reducto bills
-- credits for every product, so credits are one meter. If it counts requests and states no credits (accounts on the pricing
-- of September 2026), the requests are a meter without a price, and the credits are not 0. A row of one grouping can hide
-- such requests: a product with credits for one file type and none for another has credits. So for each organisation and day,
-- the number of unrated requests is the largest that any grouping has in its rows without credits.

with

usage as (

    select * from {{ ref('stg_reducto__usage') }}

),

by_grouping as (

    select
        account,
        org_id,
        date,
        grouped_by,
        sum(case when is_unrated then request_count else 0 end) as unrated_requests,
        sum(request_count) as request_count,
        min(case when is_unrated and not is_complete then 0 else 1 end) as is_unrated_complete
    from usage
    group by account, org_id, date, grouped_by

),

by_organisation as (

    select
        account,
        org_id,
        date,
        max(unrated_requests) as unrated_requests,
        max(case when grouped_by = 'product' then request_count else 0 end) as request_count,
        min(is_unrated_complete) as is_unrated_complete
    from by_grouping
    group by account, org_id, date

),

-- `request_count` splits the requests by product between the two meters, so that it adds up to the authoritative total.
requests as (

    select
        account,
        date,
        sum(unrated_requests) as unrated_requests,
        sum(least(unrated_requests, request_count)) as unrated_request_count,
        sum(request_count) as request_count,
        min(is_unrated_complete) as is_unrated_complete
    from by_organisation
    group by account, date

),

credits as (

    select
        account,
        date,
        sum(coalesce(credits, 0)) as quantity,
        min(case when is_complete then 1 else 0 end) as is_complete
    from usage
    where grouped_by = 'product' and not is_unrated
    group by account, date

),

daily as (

    select
        credits.account,
        credits.date,
        'credits' as meter,
        credits.quantity,
        requests.request_count - requests.unrated_request_count as request_count,
        credits.is_complete
    from credits
    inner join requests
        on credits.account = requests.account
        and credits.date = requests.date

    union all

    select
        account,
        date,
        'unrated-requests' as meter,
        unrated_requests as quantity,
        unrated_request_count as request_count,
        is_unrated_complete as is_complete
    from requests
    where unrated_requests > 0

),

final as (

    select
        account,
        meter,
        'day' as timespan,
        cast(date as {{ type_utc() }}) as bucket_start,
        cast({{ later('day', 1, 'cast(date as ' ~ type_utc() ~ ')') }} as {{ type_utc() }}) as bucket_end,
        cast(quantity as numeric(28, 9)) as quantity,
        cast(request_count as bigint) as request_count,
        is_complete = 1 as is_complete
    from daily

)

select * from final
