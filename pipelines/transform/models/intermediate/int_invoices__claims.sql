-- One row per invoice line, and day, SKU and category of charges in its period and scope.
-- The same line covers all charges of a day, SKU and category, so the claims need fewer rows than the charges have.

with

charges as (

    select * from {{ ref('charges') }}

),

lines as (

    select * from {{ ref('int_invoices__lines') }}
    where covers_charges

),

charged as (

    select
        provider,
        billing_account,
        currency,
        sku_id,
        charge_category,
        billing_month,
        billed_on,
        sum(billed_cost) as billed_cost
    from charges
    group by provider, billing_account, currency, sku_id, charge_category, billing_month, billed_on

),

claimed as (

    select
        charged.*,
        lines.invoice_id,
        lines.line_number,
        lines.status,
        lines.specificity,
        lines.is_credit_note,
        charged.currency = lines.currency as is_in_currency,
        sum(case when charged.currency = lines.currency then charged.billed_cost else 0 end) over (
            partition by lines.provider, lines.billing_account, lines.invoice_id, lines.line_number
        ) as cost_of_line
    from charged
    inner join lines
        on charged.provider = lines.provider
        and charged.billing_account = lines.billing_account
        and charged.billed_on >= lines.period_start
        and charged.billed_on < lines.period_end
        and (
            lines.specificity = 1
            or (lines.specificity = 2 and charged.charge_category = lines.line)
            or (lines.specificity = 3 and charged.sku_id = lines.line)
        )

),

-- A credit note covers charges only if their sum is negative, such as corrections. Any other credit note reduces a line that
-- the invoice files do not identify.
claims as (

    select
        provider,
        billing_account,
        currency,
        sku_id,
        charge_category,
        billing_month,
        billed_on,
        invoice_id,
        line_number,
        status,
        specificity,
        is_in_currency
    from claimed
    where not is_credit_note or cost_of_line < 0

),

-- Two equally specific lines that claim the same charges are an error in the invoice files; a data test reports it.
covered as (

    select
        *,
        row_number() over (
            partition by provider, billing_account, currency, sku_id, charge_category, billed_on
            order by
                case when is_in_currency then 0 else 1 end,
                case when status = 'issued' then 0 else 1 end,
                specificity desc,
                invoice_id,
                line_number
        ) = 1 and is_in_currency as is_covered
    from claims

),

final as (

    select
        *,
        not is_in_currency
        and max(case when is_covered then 1 else 0 end) over (
            partition by provider, billing_account, currency, sku_id, charge_category, billed_on
        ) = 0
        and max(case when is_covered then 1 else 0 end) over (
            partition by provider, billing_account, invoice_id, line_number
        ) = 0 as is_mismatched
    from covered

)

select * from final
