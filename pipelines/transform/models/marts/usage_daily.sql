-- One row per provider, account, meter and UTC date.
-- Only usage that was loaded by the hour or day: the usage of a week or month has no date.

with

metered_usage as (

    select * from {{ ref('int_usage__metered') }}

),

days as (

    select * from {{ ref('int_days__covered') }}

),

daily as (

    select
        provider,
        account,
        meter,
        {{ metered_table('provider', 'meter') }} as resource,
        cast(bucket_start as date) as date,
        sum(quantity) as quantity,
        unit,
        sum(request_count) as request_count,
        min(case when is_complete then 1 else 0 end) = 1 as has_complete_buckets
    from metered_usage
    where timespan in ('hour', 'day')
    group by provider, account, meter, cast(bucket_start as date), unit

),

final as (

    select
        daily.provider,
        daily.account,
        daily.meter,
        daily.date,
        cast(daily.quantity as numeric(28, 9)) as quantity,
        daily.unit,
        cast(daily.request_count as bigint) as request_count,
        daily.has_complete_buckets and coalesce(days.is_complete, false) as is_complete
    from daily
    left join days
        on daily.provider = days.provider
        and daily.account = days.account
        and daily.resource = days.resource
        and daily.date = days.date

)

select * from final
