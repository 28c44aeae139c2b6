-- One row per provider and meter: the SKU that it is charged as. The user's mapping takes precedence over the shipped one.

with

own as (

    select * from {{ ref('stg_billing__skus') }}

),

shipped as (

    select * from {{ ref('sku_map') }}

),

final as (

    select
        cast(coalesce(own.provider, shipped.provider) as {{ dbt.type_string() }}) as provider,
        cast(coalesce(own.meter, shipped.meter) as {{ dbt.type_string() }}) as meter,
        case when own.provider is null then shipped.sku_id else own.sku_id end as sku_id,
        -- The condition under which the vendor charges another SKU applies only to the shipped mapping.
        case
            when own.provider is null or own.sku_id = shipped.sku_id then shipped.dearest_sku_id
            else own.sku_id
        end as dearest_sku_id,
        coalesce(own.unit, shipped.unit) as unit,
        coalesce(own.is_billed, shipped.is_billed) as is_billed
    from own
    full outer join shipped
        on own.provider = shipped.provider
        and own.meter = shipped.meter

)

select * from final
