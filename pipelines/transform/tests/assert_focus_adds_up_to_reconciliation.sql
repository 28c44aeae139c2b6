-- One row per provider, billing account, invoice and currency whose FOCUS charges differ from the reconciliation.
-- Only months that one invoice covers. The reconciliation rounds lines to cents and FOCUS rounds nothing, so they may differ
-- by half a cent a line.

with

focus as (

    select * from {{ ref('focus_1_2_cost_and_usage') }}

),

charges as (

    select * from {{ ref('charges') }}

),

invoiced as (

    select * from {{ ref('int_focus__invoiced') }}

),

invoice_reconciliation as (

    select * from {{ ref('invoice_reconciliation') }}

),

of_focus as (

    select
        "x_Provider" as provider,
        "BillingAccountId" as billing_account,
        "InvoiceId" as invoice_id,
        "BillingCurrency" as currency,
        sum("BilledCost") as billed_cost
    from focus
    where "InvoiceId" is not null
    group by "x_Provider", "BillingAccountId", "InvoiceId", "BillingCurrency"

),

-- Sums of FOCUS alone would miss a charge that FOCUS assigns to another invoice, or to none.
of_charges as (

    select
        invoiced.provider,
        invoiced.billing_account,
        invoiced.invoice_id,
        invoiced.currency,
        sum(charges.billed_cost) as billed_cost
    from invoiced
    inner join charges
        on invoiced.provider = charges.provider
        and invoiced.billing_account = charges.billing_account
        and invoiced.billing_month = charges.billing_month
        and invoiced.currency = charges.currency
    group by invoiced.provider, invoiced.billing_account, invoiced.invoice_id, invoiced.currency

),

reconciled as (

    select
        invoiced.provider,
        invoiced.billing_account,
        invoiced.invoice_id,
        invoiced.currency,
        sum(invoice_reconciliation.computed) as computed,
        count(invoice_reconciliation.computed) as line_count
    from invoiced
    inner join invoice_reconciliation
        on invoiced.provider = invoice_reconciliation.provider
        and invoiced.billing_account = invoice_reconciliation.account
        and invoiced.billing_month = invoice_reconciliation.billing_month
        and invoiced.currency = invoice_reconciliation.currency
    group by invoiced.provider, invoiced.billing_account, invoiced.invoice_id, invoiced.currency

),

final as (

    select
        of_charges.provider,
        of_charges.billing_account,
        of_charges.invoice_id,
        of_charges.currency,
        of_focus.billed_cost as focus_billed_cost,
        of_charges.billed_cost,
        reconciled.computed
    from of_charges
    left join of_focus
        on of_charges.provider = of_focus.provider
        and of_charges.billing_account = of_focus.billing_account
        and of_charges.invoice_id = of_focus.invoice_id
        and of_charges.currency = of_focus.currency
    left join reconciled
        on of_charges.provider = reconciled.provider
        and of_charges.billing_account = reconciled.billing_account
        and of_charges.invoice_id = reconciled.invoice_id
        and of_charges.currency = reconciled.currency
    where
        of_focus.billed_cost is null
        or of_focus.billed_cost <> of_charges.billed_cost
        or reconciled.computed is null
        or abs(of_charges.billed_cost - reconciled.computed) > 0.005 * reconciled.line_count

)

select * from final
