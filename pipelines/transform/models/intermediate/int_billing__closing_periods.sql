-- One row per period that this build closes. If a usage line of an invoice exceeds the computed usage by more than the
-- tolerance, usage may be missing, and the invoice closes nothing. Otherwise the invoice closes all its periods in
-- `int_billing__closable_periods`.

with

closable as (

    select * from {{ ref('int_billing__closable_periods') }}

),

invoice_lines as (

    select * from {{ ref('int_invoices__lines') }}
    where status = 'issued'

),

claims as (

    select * from {{ ref('int_invoices__claims') }}

),

computed as (

    select * from {{ ref('int_invoices__computed') }}

),

priced_usage as (

    select * from {{ ref('int_usage__priced') }}

),

closable_lines as (

    select distinct
        closable.provider,
        closable.billing_account,
        closable.invoice_id,
        closable.line_number,
        invoice_lines.sku_id,
        invoice_lines.specificity,
        invoice_lines.period_start,
        invoice_lines.period_end
    from closable
    inner join invoice_lines
        on closable.provider = invoice_lines.provider
        and closable.billing_account = invoice_lines.billing_account
        and closable.invoice_id = invoice_lines.invoice_id
        and closable.line_number = invoice_lines.line_number

),

-- A credit note reduces the line that it credits. If either states no quantity, their amounts are compared.
invoiced as (

    select
        provider,
        billing_account,
        main_invoice_id as invoice_id,
        main_line_number as line_number,
        sum(amount) as amount,
        case when count(*) = count(quantity) then sum(quantity) end as quantity,
        max(nullif(unit, '')) as unit
    from invoice_lines
    group by provider, billing_account, main_invoice_id, main_line_number

),

-- `computed` omits usage without a price and usage that a grant covers. An invoice line may state that usage, so it is added.
omitted_usage as (

    select
        closable_lines.provider,
        closable_lines.billing_account,
        closable_lines.invoice_id,
        closable_lines.line_number,
        sum(priced_usage.quantity) as quantity,
        max(priced_usage.unit) as unit
    from priced_usage
    inner join closable_lines
        on priced_usage.provider = closable_lines.provider
        and priced_usage.billing_account = closable_lines.billing_account
        and priced_usage.sku_id = closable_lines.sku_id
        and priced_usage.billing_date >= closable_lines.period_start
        and priced_usage.billing_date < closable_lines.period_end
    where
        priced_usage.scenario = 'computed'
        and (not priced_usage.is_priced or priced_usage.grant_id is not null)
        and closable_lines.specificity = 3
    group by
        closable_lines.provider, closable_lines.billing_account, closable_lines.invoice_id, closable_lines.line_number

),

-- Amounts in two currencies cannot be compared. A wrong currency in a file must not leave a month open.
in_another_currency as (

    select distinct
        provider,
        billing_account,
        invoice_id,
        line_number,
        is_mismatched
    from claims
    where is_mismatched

),

compared as (

    select
        closable_lines.provider,
        closable_lines.billing_account,
        closable_lines.invoice_id,
        coalesce(computed.billed_cost, 0) as computed,
        coalesce(computed.quantity, 0) + coalesce(omitted_usage.quantity, 0) as computed_quantity,
        invoiced.amount,
        case
            when
                closable_lines.specificity = 3
                and {{ is_same_unit('invoiced.unit', 'coalesce(computed.unit, omitted_usage.unit)') }}
                then invoiced.quantity
        end as quantity,
        coalesce(in_another_currency.is_mismatched, false) as is_in_another_currency,
        {{ reconciliation_tolerance('computed.billed_cost') }} as tolerance
    from closable_lines
    {%- for side in ['invoiced', 'computed', 'omitted_usage', 'in_another_currency'] %}
    left join {{ side }}
        on closable_lines.provider = {{ side }}.provider
        and closable_lines.billing_account = {{ side }}.billing_account
        and closable_lines.invoice_id = {{ side }}.invoice_id
        and closable_lines.line_number = {{ side }}.line_number
    {%- endfor %}

),

short as (

    select distinct
        provider,
        billing_account,
        invoice_id,
        true as is_short
    from compared
    where
        case
            when quantity is not null then
                quantity - computed_quantity
                > cast({{ var('reconciliation_tolerance_fraction') }} as numeric(28, 9)) * abs(computed_quantity)
            when is_in_another_currency then false
            else amount - computed > tolerance
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
