-- One row per provider, billing account, account, SKU, charge category, unit, currency and billing month.

with

charges as (

    select * from {{ ref('charges') }}

),

additional_costs as (

    select * from {{ ref('int_cost__additional') }}

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
        {{- aggregate_reporting() }},
        min(case when is_complete then 1 else 0 end) = 1 as has_complete_charges
    from charges
    group by provider, billing_account, account, sku_id, charge_category, billing_month, unit, currency

),

additional_by_month as (

    select
        provider,
        billing_account,
        account,
        sku_id,
        billing_month,
        unit,
        currency,
        sum(additional_cost) as additional_cost
    from additional_costs
    group by provider, billing_account, account, sku_id, billing_month, unit, currency

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
        cast(monthly.billed_cost + greatest(coalesce(additional_by_month.additional_cost, 0), 0) as numeric(28, 9)) as cost_high,
        monthly.currency,
        {{- select_reporting('monthly') }},
        monthly.has_complete_charges and coalesce(months.is_complete, false) as is_complete
    from monthly
    left join additional_by_month
        on monthly.provider = additional_by_month.provider
        and monthly.billing_account = additional_by_month.billing_account
        and monthly.account = additional_by_month.account
        and monthly.sku_id = additional_by_month.sku_id
        and monthly.billing_month = additional_by_month.billing_month
        and monthly.unit = additional_by_month.unit
        and monthly.currency = additional_by_month.currency
        and monthly.charge_category = 'Usage'
    left join months
        on monthly.provider = months.provider
        and monthly.billing_account = months.billing_account
        and monthly.billing_month = months.billing_month

)

select * from final
