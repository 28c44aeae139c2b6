-- One row per provider, billing account, account, SKU, charge category, unit, currency and billing month.

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
        charge_category,
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
    group by provider, billing_account, account, sku_id, charge_category, billing_month, unit, currency

),

-- The additional cost of the SKU in the scenario `high`, before monetary credits.
high as (

    select
        provider,
        billing_account,
        account,
        counted_sku_id as sku_id,
        billing_month,
        unit,
        currency,
        sum(case when scenario = 'high' then billed_cost else -billed_cost end) as additional_cost
    from priced_usage
    where scenario in ('high', 'computed') and is_priced
    group by provider, billing_account, account, counted_sku_id, billing_month, unit, currency
    having count(case when scenario = 'high' then 1 end) > 0

),

final as (

    select
        monthly.provider,
        monthly.billing_account,
        monthly.account,
        monthly.sku_id,
        monthly.charge_category,
        monthly.billing_month,
        cast(monthly.quantity as numeric(28, 9)) as quantity,
        monthly.unit,
        cast(monthly.list_cost as numeric(28, 9)) as list_cost,
        cast(monthly.contracted_cost as numeric(28, 9)) as contracted_cost,
        cast(monthly.billed_cost as numeric(28, 9)) as billed_cost,
        cast(monthly.effective_cost as numeric(28, 9)) as effective_cost,
        cast(monthly.billed_cost + greatest(coalesce(high.additional_cost, 0), 0) as numeric(28, 9)) as cost_high,
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
        and monthly.charge_category = 'Usage'
    left join months
        on monthly.provider = months.provider
        and monthly.billing_account = months.billing_account
        and monthly.billing_month = months.billing_month

)

select * from final
