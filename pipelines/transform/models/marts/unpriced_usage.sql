-- One row per provider, account, meter and UTC date of usage that no price covers.
-- Vendors meter what nobody has a price for yet: a new usage type, credits of a plan whose price is not published, requests
-- that no credits were stated for. What it costs is not known, which is not nothing: it stands here and in no cost table.

with

priced_usage as (

    select * from {{ ref('int_usage__priced') }}

),

unpriced as (

    select
        provider,
        account,
        meter,
        cast(bucket_start as date) as date,
        quantity,
        unit,
        case
            when meter = 'unrated-requests' then 'no credits stated'
            when sku_id is null then 'unknown meter'
            else 'no price at that time'
        end as reason
    from priced_usage
    where scenario = 'computed' and not is_priced

),

final as (

    select
        provider,
        account,
        meter,
        date,
        cast(sum(quantity) as numeric(28, 9)) as quantity,
        unit,
        cast(reason as {{ dbt.type_string() }}) as reason
    from unpriced
    group by provider, account, meter, date, unit, reason

)

select * from final
