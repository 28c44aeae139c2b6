-- One row per charge that an invoice line covers.

with

charges as (

    select * from {{ ref('charges') }}

),

covered as (

    select * from {{ ref('int_invoices__claims') }}
    where is_covered

),

final as (

    select
        charges.charge_id,
        covered.invoice_id,
        covered.line_number,
        covered.status
    from charges
    inner join covered
        on charges.provider = covered.provider
        and charges.billing_account = covered.billing_account
        and charges.currency = covered.currency
        and charges.sku_id = covered.sku_id
        and charges.charge_category = covered.charge_category
        and charges.billed_on = covered.billed_on

)

select * from final
