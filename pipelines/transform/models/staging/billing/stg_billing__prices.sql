-- One row per price tier and validity.
-- FOCUS requires a SkuPriceId that names neither date nor contract: it is the SKU and the number of its tier.

with

prices as (

    select * from {{ raw_table('billing', 'prices') }}

),

typed as (

    select
        provider,
        billing_account,
        sku_id,
        pricing_model,
        cast(tier_from as numeric(28, 9)) as tier_from,
        cast(tier_to as numeric(28, 9)) as tier_to,
        unit,
        cast(unit_price as numeric(28, 9)) as unit_price,
        currency,
        cast(valid_from as date) as valid_from,
        cast(valid_to as date) as valid_to,
        source as price_file,
        cast(row_number as bigint) as price_row,
        cast(
            row_number() over (partition by provider, billing_account, sku_id, valid_from order by tier_from) as integer
        ) as tier_no
    from prices

),

final as (

    select
        provider,
        billing_account,
        sku_id,
        {{ dbt.concat(['sku_id', "'/t'", 'cast(tier_no as ' ~ dbt.type_string() ~ ')']) }} as sku_price_id,
        pricing_model,
        tier_no,
        tier_from,
        tier_to,
        unit,
        unit_price,
        currency,
        valid_from,
        valid_to,
        price_file,
        price_row
    from typed

)

select * from final
