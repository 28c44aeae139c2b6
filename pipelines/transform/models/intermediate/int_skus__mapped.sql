-- One row per provider and meter: the SKU that it is charged as. The user's mapping takes precedence over the shipped one.

with

own as (

    select * from {{ ref('stg_billing__skus') }}

),

-- Usage that is not billed has no SKU: dbt-spark would load the empty cells of the seed as the text `None`.
shipped as (

    select
        provider,
        meter,
        case when is_billed then sku_id end as sku_id,
        case when is_billed then highest_priced_sku_id end as highest_priced_sku_id,
        unit,
        is_billed
    from {{ ref('sku_map') }}

),

final as (

    select
        cast(coalesce(own.provider, shipped.provider) as {{ dbt.type_string() }}) as provider,
        cast(coalesce(own.meter, shipped.meter) as {{ dbt.type_string() }}) as meter,
        case when own.provider is null then shipped.sku_id else own.sku_id end as sku_id,
        -- The condition under which the vendor charges another SKU applies only to the shipped mapping.
        case
            when own.provider is null or own.sku_id = shipped.sku_id then shipped.highest_priced_sku_id
            else own.sku_id
        end as highest_priced_sku_id,
        coalesce(own.unit, shipped.unit) as unit,
        coalesce(own.is_billed, shipped.is_billed) as is_billed
    from own
    full outer join shipped
        on own.provider = shipped.provider
        and own.meter = shipped.meter

)

select * from final
