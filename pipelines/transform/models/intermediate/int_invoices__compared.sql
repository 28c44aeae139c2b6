-- One row per invoice line: the invoiced amount and quantity beside those computed for the charges that it covers.
-- A line exceeds the computed usage (`exceeds_usage`), or is below it (`is_below`), if the difference is larger than the
-- tolerance. Quantities are compared if the line names a SKU, the line and its parts all state a quantity, and the units
-- agree; otherwise amounts are.
-- Longer than 200 lines: the reconciliation and closing compare amounts and quantities in two different ways.

with

lines as (

    select * from {{ ref('int_invoices__lines') }}

),

computed as (

    select * from {{ ref('int_invoices__computed') }}

),

claims as (

    select * from {{ ref('int_invoices__claims') }}

),

priced_usage as (

    select * from {{ ref('int_usage__priced') }}

),

mismatched as (

    select distinct
        provider,
        billing_account,
        invoice_id,
        line_number
    from claims
    where is_mismatched

),

-- A line and the credit notes and further lines that are part of it are compared as one.
netted as (

    select
        provider,
        billing_account,
        main_invoice_id,
        main_line_number,
        sum(amount) as net,
        case when count(distinct lower(nullif(unit, ''))) <= 1 then sum(quantity) end as quantity,
        count(*) = count(quantity) and count(distinct lower(nullif(unit, ''))) <= 1 as all_state_quantity
    from lines
    where charge_category is null or charge_category <> 'Tax'
    group by provider, billing_account, main_invoice_id, main_line_number

),

invoiced as (

    select
        lines.*,
        lines.amount + case when lines.specificity = 1 then lines.tax else 0 end as invoiced,
        case when lines.covers_charges then netted.net else 0 end as net,
        case when lines.covers_charges and lines.quantity is not null then netted.quantity end as invoiced_quantity,
        coalesce(netted.all_state_quantity, false) as is_quantity_stated,
        computed.billed_cost,
        computed.cost_high,
        computed.quantity as computed_quantity,
        computed.unit as computed_unit,
        -- Purchases, such as an annual fee, are known before their period is over.
        not coalesce(computed.has_only_purchases and lines.specificity = 3, false)
        and coalesce(lines.charge_category, 'Usage') <> 'Purchase' as depends_on_usage,
        mismatched.invoice_id is not null as is_mismatched
    from lines
    left join netted
        on lines.provider = netted.provider
        and lines.billing_account = netted.billing_account
        and lines.invoice_id = netted.main_invoice_id
        and lines.line_number = netted.main_line_number
    left join computed
        on lines.provider = computed.provider
        and lines.billing_account = computed.billing_account
        and lines.invoice_id = computed.invoice_id
        and lines.line_number = computed.line_number
    left join mismatched
        on lines.provider = mismatched.provider
        and lines.billing_account = mismatched.billing_account
        and lines.invoice_id = mismatched.invoice_id
        and lines.line_number = mismatched.line_number

),

-- `computed_quantity` excludes usage without a price and usage that a grant covers. An invoice may state both.
omitted_usage as (

    select
        lines.provider,
        lines.billing_account,
        lines.invoice_id,
        lines.line_number,
        sum(priced_usage.quantity) as quantity,
        max(priced_usage.unit) as unit
    from lines
    inner join priced_usage
        on lines.provider = priced_usage.provider
        and lines.billing_account = priced_usage.billing_account
        and lines.sku_id = priced_usage.sku_id
        and priced_usage.billing_date >= lines.period_start
        and priced_usage.billing_date < lines.period_end
    where
        lines.quantity is not null
        and priced_usage.scenario = 'computed'
        and (not priced_usage.is_priced or priced_usage.grant_id is not null)
    group by lines.provider, lines.billing_account, lines.invoice_id, lines.line_number

),

with_omitted_usage as (

    select
        invoiced.*,
        coalesce(invoiced.computed_quantity, 0) + coalesce(omitted_usage.quantity, 0) as used_quantity,
        invoiced.sku_id <> ''
        and invoiced.is_quantity_stated
        and {{ is_same_unit('invoiced.unit', 'coalesce(invoiced.computed_unit, omitted_usage.unit)') }}
            as is_compared_by_quantity
    from invoiced
    left join omitted_usage
        on invoiced.provider = omitted_usage.provider
        and invoiced.billing_account = omitted_usage.billing_account
        and invoiced.invoice_id = omitted_usage.invoice_id
        and invoiced.line_number = omitted_usage.line_number

),

excesses as (

    select
        *,
        case when is_compared_by_quantity then invoiced_quantity - used_quantity else net - coalesce(billed_cost, 0) end
            as excess,
        case
            when is_compared_by_quantity
                then cast({{ var('reconciliation_tolerance_fraction') }} as numeric(28, 9)) * abs(used_quantity)
            else {{ reconciliation_tolerance('billed_cost') }}
        end as tolerance
    from with_omitted_usage

),

-- Invoices round each line to the decimal places of the currency. Amounts are rounded here, and nowhere earlier.
rounded as (

    select
        *,
        {{ rounded_to_currency('cast(billed_cost as numeric(28, 9))', 'currency') }} as computed,
        {{ rounded_to_currency('cast(cost_high as numeric(28, 9))', 'currency') }} as computed_high,
        -- Quantities in other units, such as thousands of pages, cannot be compared.
        is_quantity_stated
        and computed_quantity is not null
        and {{ is_same_unit('unit', 'computed_unit') }} as are_quantities_comparable
    from excesses

),

-- The cost of the computed quantity at the invoiced unit price splits the difference into a quantity and a price variance.
-- An invoice for a quantity of 0 has no unit price: its whole difference is a quantity variance.
varied as (

    select
        *,
        case
            when not are_quantities_comparable then null
            when invoiced_quantity = 0 then computed
            else {{ allocated('net', 'computed_quantity', 'invoiced_quantity') }}
        end as computed_at_invoiced_price
    from rounded

),

final as (

    select
        provider,
        billing_account,
        invoice_id,
        line_number,
        main_invoice_id,
        main_line_number,
        status as invoice_status,
        charge_category,
        sku_id,
        line,
        billing_month,
        period_start,
        period_end,
        amount,
        cast(invoiced as numeric(28, 9)) as invoiced,
        cast(net as numeric(28, 9)) as net,
        tax,
        billed_cost,
        cast(computed as numeric(28, 9)) as computed,
        cast(computed_high as numeric(28, 9)) as computed_high,
        cast(invoiced_quantity as numeric(28, 9)) as invoiced_quantity,
        nullif(unit, '') as unit,
        computed_quantity,
        computed_unit,
        cast(net - computed_at_invoiced_price as numeric(28, 9)) as quantity_variance,
        cast(computed_at_invoiced_price - computed as numeric(28, 9)) as price_variance,
        currency,
        covers_charges,
        depends_on_usage,
        is_mismatched,
        excess > tolerance as exceeds_usage,
        excess < -tolerance as is_below
    from varied

)

select * from final
