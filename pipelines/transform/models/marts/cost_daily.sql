-- One row per provider, account, SKU and UTC date.
-- Only charges that lie within one day: a charge for a week or a month has no date of its own, and spread evenly over
-- its days it would be a guess. It stands in `cost_monthly` alone.

with

charges as (

    select * from {{ ref('charges') }}

),

accounts as (

    select * from {{ ref('int_accounts__completed') }}

),

daily as (

    select
        provider,
        account,
        sku_id,
        cast(charge_period_start as date) as date,
        sum(quantity) as quantity,
        unit,
        sum(list_cost) as list_cost,
        sum(billed_cost) as billed_cost,
        sum(effective_cost) as effective_cost,
        currency,
        min(case when is_complete then 1 else 0 end) = 1 as has_complete_charges
    from charges
    where charge_period_end <= {{ dbt.dateadd('day', 1, 'cast(charge_period_start as date)') }}
    group by provider, account, sku_id, cast(charge_period_start as date), unit, currency

),

final as (

    select
        daily.provider,
        daily.account,
        daily.sku_id,
        daily.date,
        cast(daily.quantity as numeric(28, 9)) as quantity,
        daily.unit,
        cast(daily.list_cost as numeric(28, 9)) as list_cost,
        cast(daily.billed_cost as numeric(28, 9)) as billed_cost,
        cast(daily.effective_cost as numeric(28, 9)) as effective_cost,
        daily.currency,
        daily.has_complete_charges and coalesce(
            cast(daily.date as timestamp) >= accounts.complete_from and daily.date < accounts.complete_before_date, false
        ) as is_complete
    from daily
    left join accounts
        on daily.provider = accounts.provider
        and daily.account = accounts.account

)

select * from final
