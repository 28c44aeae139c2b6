-- One row per invoice line that covers charges, and per billing account, month, SKU and currency of charges on no invoice.

with

charges as (

    select * from {{ ref('charges') }}

),

claims as (

    select * from {{ ref('int_invoices__claims') }}

),

additional_costs as (

    select * from {{ ref('int_cost__additional') }}

),

-- Most invoices omit usage that a grant covers, so its quantity is not counted.
charged as (

    select
        provider,
        billing_account,
        currency,
        sku_id,
        charge_category,
        billing_month,
        billed_on,
        sum(billed_cost) as billed_cost,
        sum(case when charge_category = 'Usage' and grant_id is not null then 0 else quantity end) as quantity,
        min(unit) as first_unit,
        max(unit) as last_unit
    from charges
    group by provider, billing_account, currency, sku_id, charge_category, billing_month, billed_on

),

-- The additional cost that usage may have, such as images with more than 12 rows of text.
additional_by_day as (

    select
        provider,
        billing_account,
        currency,
        sku_id,
        'Usage' as charge_category,
        billing_date as billed_on,
        sum(additional_cost) as additional_cost
    from additional_costs
    group by provider, billing_account, currency, sku_id, billing_date

),

covered as (

    select * from claims
    where is_covered

),

mismatched as (

    select distinct
        provider,
        billing_account,
        currency,
        sku_id,
        charge_category,
        billed_on
    from claims
    where is_mismatched

),

assigned as (

    select
        charged.*,
        covered.invoice_id,
        covered.line_number,
        case when covered.invoice_id is null then charged.billing_month end as open_month,
        case when covered.invoice_id is null then charged.sku_id end as open_sku_id,
        charged.billed_cost + coalesce(additional_by_day.additional_cost, 0) as cost_high,
        mismatched.billed_on is not null as is_mismatched
    from charged
    {%- for side in ['covered', 'additional_by_day', 'mismatched'] %}
    left join {{ side }}
        on charged.provider = {{ side }}.provider
        and charged.billing_account = {{ side }}.billing_account
        and charged.currency = {{ side }}.currency
        and charged.sku_id = {{ side }}.sku_id
        and charged.charge_category = {{ side }}.charge_category
        and charged.billed_on = {{ side }}.billed_on
    {%- endfor %}

),

by_sku as (

    select
        provider,
        billing_account,
        currency,
        invoice_id,
        line_number,
        open_month,
        open_sku_id,
        sku_id,
        charge_category,
        sum(billed_cost) as billed_cost,
        greatest(sum(cost_high), sum(billed_cost)) as cost_high,
        sum(quantity) as quantity,
        min(first_unit) as first_unit,
        max(last_unit) as last_unit,
        min(billed_on) as first_billed_on,
        max(case when is_mismatched then 1 else 0 end) as mismatches
    from assigned
    group by
        provider,
        billing_account,
        currency,
        invoice_id,
        line_number,
        open_month,
        open_sku_id,
        sku_id,
        charge_category

),

final as (

    select
        provider,
        billing_account,
        currency,
        invoice_id,
        line_number,
        open_month as billing_month,
        open_sku_id as sku_id,
        cast(sum(billed_cost) as numeric(28, 9)) as billed_cost,
        cast(sum(cost_high) as numeric(28, 9)) as cost_high,
        -- Quantities add up only within a category and unit.
        cast(case
            when min(charge_category) = max(charge_category) and min(first_unit) = max(last_unit) then sum(quantity)
        end as numeric(28, 9)) as quantity,
        max(last_unit) as unit,
        min(first_billed_on) as first_billed_on,
        min(charge_category) = 'Purchase' and max(charge_category) = 'Purchase' as has_only_purchases,
        max(mismatches) = 1 as is_mismatched
    from by_sku
    group by provider, billing_account, currency, invoice_id, line_number, open_month, open_sku_id

)

select * from final
