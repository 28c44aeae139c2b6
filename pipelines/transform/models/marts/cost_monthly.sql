-- One row per provider, billing account, account, SKU, unit, currency and billing month.

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

monthly as (

    select
        provider,
        billing_account,
        account,
        sku_id,
        billing_month,
        sum(quantity) as quantity,
        unit,
        sum(list_cost) as list_cost,
        sum(contracted_cost) as contracted_cost,
        sum(billed_cost) as billed_cost,
        sum(effective_cost) as effective_cost,
        currency,
        min(case when is_complete then 1 else 0 end) = 1 as has_complete_charges
    from charges
    group by provider, billing_account, account, sku_id, billing_month, unit, currency

),

high as (

    select
        provider,
        billing_account,
        account,
        counted_sku_id as sku_id,
        billing_month,
        unit,
        currency,
        sum(billed_cost) as cost_high
    from priced_usage
    where scenario = 'high' and is_priced
    group by provider, billing_account, account, counted_sku_id, billing_month, unit, currency

),

final as (

    select
        monthly.provider,
        monthly.billing_account,
        monthly.account,
        monthly.sku_id,
        monthly.billing_month,
        cast(monthly.quantity as numeric(28, 9)) as quantity,
        monthly.unit,
        cast(monthly.list_cost as numeric(28, 9)) as list_cost,
        cast(monthly.contracted_cost as numeric(28, 9)) as contracted_cost,
        cast(monthly.billed_cost as numeric(28, 9)) as billed_cost,
        cast(monthly.effective_cost as numeric(28, 9)) as effective_cost,
        cast(greatest(coalesce(high.cost_high, monthly.billed_cost), monthly.billed_cost) as numeric(28, 9)) as cost_high,
        monthly.currency,
        monthly.has_complete_charges and coalesce(months.is_complete, false) as is_complete
    from monthly
    left join high
        on monthly.provider = high.provider
        and monthly.billing_account = high.billing_account
        and monthly.account = high.account
        and monthly.sku_id = high.sku_id
        and monthly.billing_month = high.billing_month
        and monthly.unit = high.unit
        and monthly.currency = high.currency
    left join months
        on monthly.provider = months.provider
        and monthly.billing_account = months.billing_account
        and monthly.billing_month = months.billing_month

)

select * from final
