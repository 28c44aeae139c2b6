-- One row per provider, billing account, billing month, currency and line: our computation beside the invoice.
-- A line is a SKU if the invoice names one, else the category of its lines (Usage, Purchase, ...), else the total of an
-- invoice without lines. The computed side follows the invoice, and is by SKU if there is no invoice.

with

charges as (

    select * from {{ ref('charges') }}

),

priced_usage as (

    select * from {{ ref('int_usage__priced') }}

),

months as (

    select * from {{ ref('int_billing__months') }}

),

invoices as (

    select * from {{ ref('stg_billing__invoices') }}

),

invoice_lines as (

    select * from {{ ref('stg_billing__invoice_lines') }}

),

issued as (

    select
        provider,
        billing_account,
        invoice_id,
        status,
        currency,
        total,
        cast({{ dbt.date_trunc('month', 'period_start') }} as date) as billing_month
    from invoices
    where status <> 'voided'

),

invoiced_lines as (

    select
        issued.provider,
        issued.billing_account,
        issued.billing_month,
        issued.currency,
        issued.status,
        case
            when invoice_lines.invoice_id is null then 'total'
            else coalesce(nullif(invoice_lines.sku_id, ''), invoice_lines.charge_category)
        end as line,
        coalesce(invoice_lines.amount, issued.total) as amount
    from issued
    left join invoice_lines
        on issued.provider = invoice_lines.provider
        and issued.billing_account = invoice_lines.billing_account
        and issued.invoice_id = invoice_lines.invoice_id

),

invoiced as (

    select
        provider,
        billing_account,
        billing_month,
        currency,
        line,
        sum(amount) as invoiced,
        max(case when status = 'open' then 1 else 0 end) = 1 as is_open
    from invoiced_lines
    group by provider, billing_account, billing_month, currency, line

),

-- The most that a charge may exceed its computed cost, as for images with more than 12 rows of text.
highest_costs as (

    select
        provider,
        billing_account,
        billing_month,
        currency,
        counted_sku_id as sku_id,
        sum(billed_cost) as cost_high
    from priced_usage
    where scenario = 'high' and is_priced
    group by provider, billing_account, billing_month, currency, counted_sku_id

),

charged as (

    select
        provider,
        billing_account,
        billing_month,
        currency,
        sku_id,
        charge_category,
        sum(billed_cost) as billed_cost
    from charges
    group by provider, billing_account, billing_month, currency, sku_id, charge_category

),

lined as (

    select
        charged.provider,
        charged.billing_account,
        charged.billing_month,
        charged.currency,
        coalesce(by_sku.line, by_category.line, by_total.line, charged.sku_id) as line,
        charged.billed_cost,
        case
            when charged.charge_category = 'Usage' then coalesce(highest_costs.cost_high, charged.billed_cost)
            else charged.billed_cost
        end as cost_high
    from charged
    left join highest_costs
        on charged.provider = highest_costs.provider
        and charged.billing_account = highest_costs.billing_account
        and charged.billing_month = highest_costs.billing_month
        and charged.currency = highest_costs.currency
        and charged.sku_id = highest_costs.sku_id
    {%- for side, line in [
        ('by_sku', 'charged.sku_id'), ('by_category', 'charged.charge_category'), ('by_total', "'total'"),
    ] %}
    left join invoiced as {{ side }}
        on charged.provider = {{ side }}.provider
        and charged.billing_account = {{ side }}.billing_account
        and charged.billing_month = {{ side }}.billing_month
        and charged.currency = {{ side }}.currency
        and {{ side }}.line = {{ line }}
    {%- endfor %}

),

-- Invoices round each of their lines to cents: amounts are rounded here and nowhere before.
computed as (

    select
        provider,
        billing_account,
        billing_month,
        currency,
        line,
        round(cast(sum(billed_cost) as numeric(28, 9)), 2) as computed,
        round(cast(sum(cost_high) as numeric(28, 9)), 2) as computed_high
    from lined
    group by provider, billing_account, billing_month, currency, line

),

unpriced as (

    select distinct
        provider,
        billing_account,
        billing_month
    from priced_usage
    where scenario = 'computed' and not is_priced

),

compared as (

    select
        coalesce(computed.provider, invoiced.provider) as provider,
        coalesce(computed.billing_account, invoiced.billing_account) as billing_account,
        coalesce(computed.billing_month, invoiced.billing_month) as billing_month,
        coalesce(computed.currency, invoiced.currency) as currency,
        coalesce(computed.line, invoiced.line) as line,
        computed.computed,
        computed.computed_high,
        invoiced.invoiced,
        invoiced.is_open
    from computed
    full outer join invoiced
        on computed.provider = invoiced.provider
        and computed.billing_account = invoiced.billing_account
        and computed.billing_month = invoiced.billing_month
        and computed.currency = invoiced.currency
        and computed.line = invoiced.line

),

measured as (

    select
        compared.*,
        coalesce(months.is_complete, false) as is_complete,
        unpriced.billing_month is not null as has_unpriced_usage,
        compared.invoiced - compared.computed as difference,
        greatest(
            cast({{ var('reconciliation_tolerance') }} as numeric(28, 9)),
            cast({{ var('reconciliation_tolerance_fraction') }} as numeric(28, 9)) * abs(compared.computed)
        ) as tolerance
    from compared
    left join months
        on compared.provider = months.provider
        and compared.billing_account = months.billing_account
        and compared.billing_month = months.billing_month
    left join unpriced
        on compared.provider = unpriced.provider
        and compared.billing_account = unpriced.billing_account
        and compared.billing_month = unpriced.billing_month

),

judged as (

    select
        *,
        case
            when invoiced is null and not is_complete then 'month still open'
            when is_open then 'month still open'
            when invoiced is null and computed = 0 then 'matched'
            when invoiced is null then 'missing invoice'
            when line = 'Tax' then 'not computed'
            when computed is null then 'missing usage'
            when difference = 0 then 'matched'
            when abs(difference) <= tolerance then 'within tolerance'
            when difference > 0 then 'over'
            else 'under'
        end as status
    from measured

),

final as (

    select
        provider,
        cast(billing_account as {{ dbt.type_string() }}) as account,
        billing_month,
        cast(line as {{ dbt.type_string() }}) as line,
        cast(computed as numeric(28, 9)) as computed,
        cast(computed_high as numeric(28, 9)) as computed_high,
        cast(invoiced as numeric(28, 9)) as invoiced,
        cast(difference as numeric(28, 9)) as difference,
        cast(tolerance as numeric(28, 9)) as tolerance,
        currency,
        cast(status as {{ dbt.type_string() }}) as status,
        cast(case
            when status in ('matched', 'within tolerance') then 'Nothing to do.'
            when status = 'month still open' then 'Wait: the month is not over, or not all of it has been loaded.'
            when status = 'missing invoice'
                then 'Add the invoice, or the line that is missing from it, to your invoice files.'
            when status = 'not computed' then 'Taxes are not computed here.'
            when status = 'missing usage'
                then 'Look whether a key or an organisation behind this account is not configured, or a fee is missing.'
            when has_unpriced_usage then 'Price the usage of the month in unpriced_usage first.'
            when status = 'over' and invoiced <= computed_high
                then 'Images of more than 12 rows of text, billed as pages, may explain it: ask the vendor for their number.'
            when status = 'over' then 'Look for a key that is not configured, or a price or fee that is not in your files.'
            else 'Look for a discount, credit or contract price that is not in your files.'
        end as {{ dbt.type_string() }}) as what_to_do,
        has_unpriced_usage
    from judged

)

select * from final
