-- One row per price tier and period of validity, of the public price list and of the user's contracts.

with

tiers as (

    select * from {{ ref('int_prices__tiers') }}

),

skus as (

    select * from {{ ref('skus') }}

),

final as (

    select
        cast(case when tiers.is_contract then 'contract' else 'list' end as {{ dbt.type_string() }}) as price_source,
        tiers.provider,
        tiers.billing_account,
        tiers.sku_id,
        tiers.sku_price_id,
        tiers.pricing_model,
        tiers.tier_no,
        tiers.tier_from,
        tiers.tier_to,
        skus.unit,
        tiers.unit_price,
        tiers.currency,
        tiers.valid_from,
        tiers.valid_to,
        tiers.price_basis,
        tiers.source_url,
        tiers.verified_on,
        tiers.price_file,
        tiers.price_row
    from tiers
    left join skus
        on tiers.provider = skus.provider
        and tiers.sku_id = skus.sku_id

)

select * from final
