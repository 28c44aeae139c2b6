-- One row per fee and validity.

with

fees as (

    select * from {{ raw_table('billing', 'fees', added=['prorate', 'after_credits']) }}

),

final as (

    select
        provider,
        billing_account,
        fee_id,
        kind,
        description,
        cast(amount as numeric(28, 9)) as amount,
        currency,
        cast(valid_from as date) as valid_from,
        cast(valid_to as date) as valid_to,
        sku_id,
        coalesce(prorate, false) as is_prorated,
        coalesce(after_credits, false) as is_after_credits
    from fees

)

select * from final
