-- One row per provider, account, SKU and billing month.

with

charges as (

    select * from {{ ref('charges') }}

),

accounts as (

    select * from {{ ref('int_accounts__completed') }}

),

monthly as (

    select
        provider,
        account,
        sku_id,
        billing_month,
        sum(quantity) as quantity,
        unit,
        sum(list_cost) as list_cost,
        sum(billed_cost) as billed_cost,
        sum(effective_cost) as effective_cost,
        currency,
        min(case when is_complete then 1 else 0 end) = 1 as has_complete_charges
    from charges
    group by provider, account, sku_id, billing_month, unit, currency

),

final as (

    select
        monthly.provider,
        monthly.account,
        monthly.sku_id,
        monthly.billing_month,
        cast(monthly.quantity as numeric(28, 9)) as quantity,
        monthly.unit,
        cast(monthly.list_cost as numeric(28, 9)) as list_cost,
        cast(monthly.billed_cost as numeric(28, 9)) as billed_cost,
        cast(monthly.effective_cost as numeric(28, 9)) as effective_cost,
        monthly.currency,
        monthly.has_complete_charges
        and coalesce(
            monthly.billing_month >= accounts.complete_from_billing_date
            and {{ dbt.dateadd('month', 1, 'monthly.billing_month') }} <= accounts.complete_before_billing_date,
            false
        ) as is_complete
    from monthly
    left join accounts
        on monthly.provider = accounts.provider
        and monthly.account = accounts.account

)

select * from final
