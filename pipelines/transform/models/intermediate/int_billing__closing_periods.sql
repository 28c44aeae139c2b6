-- One row per period that this build closes. If a usage line of an invoice exceeds the computed usage by more than the
-- tolerance, usage may be missing, and the invoice closes nothing. Otherwise the invoice closes all its periods in
-- `int_billing__closable_periods`.

with

closable as (

    select * from {{ ref('int_billing__closable_periods') }}

),

compared as (

    select * from {{ ref('int_invoices__compared') }}

),

priced_usage as (

    select * from {{ ref('int_usage__priced') }}

),

closable_lines as (

    select distinct
        provider,
        billing_account,
        invoice_id,
        line_number
    from closable

),

compared_lines as (

    select compared.*
    from compared
    inner join closable_lines
        on compared.provider = closable_lines.provider
        and compared.billing_account = closable_lines.billing_account
        and compared.invoice_id = closable_lines.invoice_id
        and compared.line_number = closable_lines.line_number

),

-- `computed_quantity` excludes usage without a price and usage that a grant covers. An invoice may state both, so they are
-- added.
omitted_usage as (

    select
        compared_lines.provider,
        compared_lines.billing_account,
        compared_lines.invoice_id,
        compared_lines.line_number,
        sum(priced_usage.quantity) as quantity,
        max(priced_usage.unit) as unit
    from priced_usage
    inner join compared_lines
        on priced_usage.provider = compared_lines.provider
        and priced_usage.billing_account = compared_lines.billing_account
        and priced_usage.sku_id = compared_lines.sku_id
        and priced_usage.billing_date >= compared_lines.period_start
        and priced_usage.billing_date < compared_lines.period_end
    where
        priced_usage.scenario = 'computed'
        and (not priced_usage.is_priced or priced_usage.grant_id is not null)
    group by compared_lines.provider, compared_lines.billing_account, compared_lines.invoice_id, compared_lines.line_number

),

with_omitted_usage as (

    select
        compared_lines.*,
        coalesce(compared_lines.computed_quantity, 0) + coalesce(omitted_usage.quantity, 0) as total_quantity,
        coalesce(compared_lines.computed_unit, omitted_usage.unit) as total_unit
    from compared_lines
    left join omitted_usage
        on compared_lines.provider = omitted_usage.provider
        and compared_lines.billing_account = omitted_usage.billing_account
        and compared_lines.invoice_id = omitted_usage.invoice_id
        and compared_lines.line_number = omitted_usage.line_number

),

-- Quantities are compared if the line names a SKU, the line and its parts all state a quantity, and the units agree; otherwise
-- amounts. A line in another currency than its charges is never short, so that a wrong currency in a file does not keep a
-- month open.
short_invoices as (

    select distinct
        provider,
        billing_account,
        invoice_id
    from with_omitted_usage
    where
        case
            when is_mismatched then false
            when sku_id <> '' and is_quantity_stated and {{ is_same_unit('unit', 'total_unit') }} then
                invoiced_quantity - total_quantity
                > cast({{ var('reconciliation_tolerance_fraction') }} as numeric(28, 9)) * abs(total_quantity)
            else net - coalesce(billed_cost, 0) > {{ reconciliation_tolerance('billed_cost') }}
        end

),

final as (

    select closable.*
    from closable
    left join short_invoices
        on closable.provider = short_invoices.provider
        and closable.billing_account = short_invoices.billing_account
        and closable.invoice_id = short_invoices.invoice_id
    where short_invoices.invoice_id is null

)

select * from final
