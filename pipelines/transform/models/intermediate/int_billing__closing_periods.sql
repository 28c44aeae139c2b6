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

lines as (

    select compared.*
    from compared
    inner join closable_lines
        on compared.provider = closable_lines.provider
        and compared.billing_account = closable_lines.billing_account
        and compared.invoice_id = closable_lines.invoice_id
        and compared.line_number = closable_lines.line_number

),

-- The comparison omits usage without a price and usage that a grant covers. A line may state that usage, so it is added.
omitted_usage as (

    select
        lines.provider,
        lines.billing_account,
        lines.invoice_id,
        lines.line_number,
        sum(priced_usage.quantity) as quantity,
        max(priced_usage.unit) as unit
    from priced_usage
    inner join lines
        on priced_usage.provider = lines.provider
        and priced_usage.billing_account = lines.billing_account
        and priced_usage.sku_id = lines.sku_id
        and priced_usage.billing_date >= lines.period_start
        and priced_usage.billing_date < lines.period_end
    where
        priced_usage.scenario = 'computed'
        and (not priced_usage.is_priced or priced_usage.grant_id is not null)
    group by lines.provider, lines.billing_account, lines.invoice_id, lines.line_number

),

used as (

    select
        lines.*,
        coalesce(lines.computed_quantity, 0) + coalesce(omitted_usage.quantity, 0) as used_quantity,
        coalesce(lines.computed_unit, omitted_usage.unit) as used_unit
    from lines
    left join omitted_usage
        on lines.provider = omitted_usage.provider
        and lines.billing_account = omitted_usage.billing_account
        and lines.invoice_id = omitted_usage.invoice_id
        and lines.line_number = omitted_usage.line_number

),

-- If the line or its credit note states no quantity, the amounts are compared. Amounts in two currencies cannot be compared:
-- a wrong currency in a file must not leave a month open.
short as (

    select distinct
        provider,
        billing_account,
        invoice_id,
        true as is_short
    from used
    where
        case
            when sku_id <> '' and has_net_quantity and {{ is_same_unit('unit', 'used_unit') }} then
                invoiced_quantity - used_quantity
                > cast({{ var('reconciliation_tolerance_fraction') }} as numeric(28, 9)) * abs(used_quantity)
            when is_mismatched then false
            else net - coalesce(billed_cost, 0) > {{ reconciliation_tolerance('billed_cost') }}
        end

),

final as (

    select closable.*
    from closable
    left join short
        on closable.provider = short.provider
        and closable.billing_account = short.billing_account
        and closable.invoice_id = short.invoice_id
    where short.is_short is null

)

select * from final
