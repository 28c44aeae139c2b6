-- One row per pair of equally specific issued invoice lines that claim the same charges.
-- depends_on: {{ ref('invoice_reconciliation') }}

with

claims as (

    select * from {{ ref('int_invoices__claims') }}
    where is_in_currency and status = 'issued'

),

final as (

    select
        covered.provider,
        covered.billing_account,
        covered.invoice_id,
        covered.line_number,
        others.invoice_id as other_invoice_id,
        others.line_number as other_line_number,
        min(covered.billed_on) as first_billed_on,
        max(covered.billed_on) as last_billed_on
    from claims as covered
    inner join claims as others
        on covered.is_covered
        and not others.is_covered
        and covered.provider = others.provider
        and covered.billing_account = others.billing_account
        and covered.currency = others.currency
        and covered.sku_id = others.sku_id
        and covered.charge_category = others.charge_category
        and covered.billed_on = others.billed_on
        and covered.specificity = others.specificity
    group by
        covered.provider,
        covered.billing_account,
        covered.invoice_id,
        covered.line_number,
        others.invoice_id,
        others.line_number

)

select * from final
