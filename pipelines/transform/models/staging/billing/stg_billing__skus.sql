-- One row per provider and meter in the SKU file of the user.

with

skus as (

    select * from {{ raw_table('billing', 'skus') }}

),

final as (

    select
        provider,
        meter,
        sku_id,
        unit,
        is_billed
    from skus

)

select * from final
