-- One row per provider and SKU that usage can be charged as.

with

mapped as (

    select * from {{ ref('int_skus__mapped') }}

),

shipped as (

    select * from {{ ref('sku_map') }}
    where is_billed

),

tiers as (

    select * from {{ ref('int_prices__tiers') }}

),

-- A SKU may have a price but no meter: the vendor may not state the meter, or may charge the SKU only under a condition.
unioned as (

    select
        provider,
        sku_id,
        unit,
        meter,
        is_billed,
        false as is_shipped
    from mapped

    union all

    select
        provider,
        sku_id,
        unit,
        null as meter,
        null as is_billed,
        true as is_shipped
    from shipped

    union all

    select
        provider,
        sku_id,
        unit,
        null as meter,
        null as is_billed,
        not is_contract as is_shipped
    from tiers

),

final as (

    select
        cast(provider as {{ dbt.type_string() }}) as provider,
        cast(sku_id as {{ dbt.type_string() }}) as sku_id,
        cast(max(unit) as {{ dbt.type_string() }}) as unit,
        coalesce(max(case when is_billed then 1 when not is_billed then 0 end), 1) = 1 as is_billed,
        cast({{ joined('meter') }} as {{ dbt.type_string() }}) as meters,
        cast(
            case when max(case when is_shipped then 1 else 0 end) = 1 then 'shipped' else 'own' end
            as {{ dbt.type_string() }}
        ) as sku_source
    from unioned
    where sku_id is not null
    group by provider, sku_id

)

select * from final
