-- One row per provider, account, table and date without usage, inside the loaded span.
-- The span is from the first fetched window to the end of the last complete one. The running day is not in it.

with

days as (

    select * from {{ ref('int_days__covered') }}

),

usage_daily as (

    select * from {{ ref('usage_daily') }}

),

used as (

    select distinct
        provider,
        account,
        {{ metered_table('provider', 'meter') }} as resource,
        date
    from usage_daily
    where quantity <> 0

),

spans as (

    select
        provider,
        account,
        resource,
        max(case when is_complete then date end) as last_complete_date
    from days
    group by provider, account, resource

),

days_without_usage as (

    select
        days.provider,
        days.account,
        days.resource,
        days.date,
        case
            when not days.is_fetched then 'never fetched'
            when days.is_in_longer_bucket then 'in a longer bucket'
            when not days.is_complete then 'partly fetched'
            when used.date is null then 'no usage'
        end as kind
    from days
    inner join spans
        on days.provider = spans.provider
        and days.account = spans.account
        and days.resource = spans.resource
        and days.date <= spans.last_complete_date
    left join used
        on days.provider = used.provider
        and days.account = used.account
        and days.resource = used.resource
        and days.date = used.date

),

final as (

    select
        provider,
        account,
        resource,
        date,
        kind
    from days_without_usage
    where kind is not null

)

select * from final
