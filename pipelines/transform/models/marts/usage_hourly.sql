-- One row per provider, account, meter and hour.
-- Only usage that was loaded by the hour: the usage of a longer bucket has no hour.

with

metered_usage as (

    select * from {{ ref('int_usage__metered') }}

),

final as (

    select
        provider,
        account,
        meter,
        bucket_start as hour,
        quantity,
        unit,
        request_count,
        is_complete
    from metered_usage
    where timespan = 'hour'

)

select * from final
