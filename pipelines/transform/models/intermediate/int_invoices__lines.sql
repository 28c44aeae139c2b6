-- One row per line of an invoice that is not voided: the period and the charges that it covers.
-- An invoice without lines has one row, number 0, for its total without tax. Some lines are part of another line, the main
-- line, and are compared with it: a credit note, and further lines of an invoice for the same charges and period.

with

invoices as (

    select * from {{ ref('stg_billing__invoices') }}

),

invoice_lines as (

    select * from {{ ref('stg_billing__invoice_lines') }}

),

lines as (

    select
        invoices.provider,
        invoices.billing_account,
        invoices.invoice_id,
        coalesce(invoice_lines.line_number, 0) as line_number,
        case when invoices.status = 'open' then 'draft' else invoices.status end as status,
        invoice_lines.charge_category,
        coalesce(invoice_lines.sku_id, '') as sku_id,
        coalesce(nullif(invoice_lines.sku_id, ''), invoice_lines.charge_category, 'total') as line,
        case
            when invoice_lines.invoice_id is null then 1
            when coalesce(invoice_lines.sku_id, '') = '' then 2
            else 3
        end as specificity,
        coalesce(invoice_lines.period_start, invoices.period_start) as period_start,
        coalesce(invoice_lines.period_end, invoices.period_end) as period_end,
        invoice_lines.quantity,
        invoice_lines.unit,
        coalesce(invoice_lines.amount, invoices.total - coalesce(invoices.tax, 0)) as amount,
        case
            when invoice_lines.invoice_id is null then coalesce(invoices.tax, 0)
            when invoice_lines.charge_category = 'Tax' then invoice_lines.amount
            else 0
        end as tax,
        invoices.currency,
        coalesce(invoice_lines.charge_category = 'Tax', false) as is_tax,
        coalesce(invoice_lines.amount, invoices.total) < 0
        and coalesce(invoice_lines.charge_category, '') not in ('Credit', 'Tax') as is_credit_note
    from invoices
    left join invoice_lines
        on invoices.provider = invoice_lines.provider
        and invoices.billing_account = invoice_lines.billing_account
        and invoices.invoice_id = invoice_lines.invoice_id
    where
        invoices.status <> 'voided'
        and (invoice_lines.invoice_id is not null or invoices.total is not null)

),

-- Of lines for the same charges, one for usage is the main line, because it closes the period.
ordered as (

    select
        *,
        row_number() over (
            partition by provider, billing_account, invoice_id, line, is_tax, period_start, period_end, is_credit_note
            order by case when charge_category = 'Usage' then 0 else 1 end, line_number
        ) = 1 as is_first
    from lines

),

-- A credit note reduces the line for the same charges whose period contains the credit note's first day; without one, the
-- line for their category, else the total. A draft reduces only drafts.
main_lines as (

    select
        lines.provider,
        lines.billing_account,
        lines.invoice_id,
        lines.line_number,
        mains.invoice_id as main_invoice_id,
        mains.line_number as main_line_number,
        row_number() over (
            partition by lines.provider, lines.billing_account, lines.invoice_id, lines.line_number
            order by
                case when mains.is_credit_note then 1 else 0 end,
                case when mains.status = 'issued' then 0 else 1 end,
                mains.specificity desc,
                case when mains.invoice_id = lines.invoice_id then 0 else 1 end,
                mains.period_start desc,
                mains.invoice_id,
                mains.line_number
        ) as preference
    from ordered as lines
    inner join ordered as mains
        on lines.provider = mains.provider
        and lines.billing_account = mains.billing_account
        and lines.currency = mains.currency
        and mains.is_first
        and not lines.is_tax
        and not mains.is_tax
    where
        (
            lines.is_credit_note
            and not mains.is_credit_note
            and (mains.line in (lines.line, lines.charge_category) or mains.specificity = 1)
            and mains.amount >= 0
            and (lines.status = 'issued' or mains.status = 'draft')
            and lines.period_start >= mains.period_start
            and lines.period_start < mains.period_end
        )
        or (
            not lines.is_first
            and lines.line = mains.line
            and lines.is_credit_note = mains.is_credit_note
            and lines.invoice_id = mains.invoice_id
            and lines.period_start = mains.period_start
            and lines.period_end = mains.period_end
        )

),

final as (

    select
        lines.provider,
        lines.billing_account,
        lines.invoice_id,
        lines.line_number,
        cast(lines.status as {{ dbt.type_string() }}) as status,
        lines.charge_category,
        lines.sku_id,
        cast(lines.line as {{ dbt.type_string() }}) as line,
        cast(lines.specificity as integer) as specificity,
        lines.period_start,
        lines.period_end,
        cast({{ dbt.date_trunc('month', 'lines.period_start') }} as date) as billing_month,
        lines.quantity,
        lines.unit,
        cast(lines.amount as numeric(28, 9)) as amount,
        cast(lines.tax as numeric(28, 9)) as tax,
        lines.currency,
        coalesce(main_lines.main_invoice_id, lines.invoice_id) as main_invoice_id,
        coalesce(main_lines.main_line_number, lines.line_number) as main_line_number,
        lines.is_credit_note,
        main_lines.invoice_id is null and not lines.is_tax as covers_charges,
        main_lines.invoice_id is null
        and lines.amount >= 0
        and (lines.specificity = 1 or coalesce(lines.charge_category, '') = 'Usage') as covers_usage
    from lines
    left join main_lines
        on lines.provider = main_lines.provider
        and lines.billing_account = main_lines.billing_account
        and lines.invoice_id = main_lines.invoice_id
        and lines.line_number = main_lines.line_number
        and main_lines.preference = 1

)

select * from final
