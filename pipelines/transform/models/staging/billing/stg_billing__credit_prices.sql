-- One row per credit price and validity.

with

credit_prices as (

    select * from {{ raw_table('billing', 'credit_prices') }}

),

final as (

    select
        provider,
        billing_account,
        cast(unit_price as numeric(28, 9)) as unit_price,
        currency,
        cast(valid_from as date) as valid_from,
        cast(valid_to as date) as valid_to,
        source as price_file,
        cast(row_number as bigint) as price_row
    from credit_prices

)

select * from final
