-- One row per issued invoice whose FOCUS rows differ from the reconciliation. A line that matches counts with its invoiced
-- amount, any other line with its computed amount and tax. Only the reconciliation rounds; FOCUS rounds nothing.

with

focus as (

    select * from {{ ref('focus_1_2_cost_and_usage') }}

),

invoices as (

    select * from {{ ref('stg_billing__invoices') }}
    where status = 'issued'

),

invoice_reconciliation as (

    select * from {{ ref('invoice_reconciliation') }}

),

of_focus as (

    select
        "x_Provider" as provider,
        "BillingAccountId" as billing_account,
        "InvoiceId" as invoice_id,
        sum("BilledCost") as billed_cost
    from focus
    where "InvoiceId" is not null
    group by "x_Provider", "BillingAccountId", "InvoiceId"

),

reconciled as (

    select
        invoice_reconciliation.provider,
        invoice_reconciliation.billing_account,
        invoice_reconciliation.invoice_id,
        sum(
            case
                when invoice_reconciliation.status in ('matched', 'within tolerance') then invoice_reconciliation.invoiced
                else coalesce(invoice_reconciliation.computed, 0) + invoice_reconciliation.tax
            end
        ) as billed_cost,
        sum(
            case when invoice_reconciliation.status in ('matched', 'within tolerance') then 0 else 0.005 end
        ) as rounding
    from invoice_reconciliation
    inner join invoices
        on invoice_reconciliation.provider = invoices.provider
        and invoice_reconciliation.billing_account = invoices.billing_account
        and invoice_reconciliation.invoice_id = invoices.invoice_id
    group by
        invoice_reconciliation.provider, invoice_reconciliation.billing_account, invoice_reconciliation.invoice_id

),

final as (

    select
        coalesce(reconciled.provider, of_focus.provider) as provider,
        coalesce(reconciled.billing_account, of_focus.billing_account) as billing_account,
        coalesce(reconciled.invoice_id, of_focus.invoice_id) as invoice_id,
        of_focus.billed_cost as focus_billed_cost,
        reconciled.billed_cost as reconciled_cost
    from reconciled
    full outer join of_focus
        on reconciled.provider = of_focus.provider
        and reconciled.billing_account = of_focus.billing_account
        and reconciled.invoice_id = of_focus.invoice_id
    where
        reconciled.invoice_id is null
        or abs(coalesce(of_focus.billed_cost, 0) - reconciled.billed_cost) > reconciled.rounding

)

select * from final
