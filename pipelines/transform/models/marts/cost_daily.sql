-- One row per provider, billing account, account, SKU, charge category, unit, currency and UTC date.
-- Only charges within one day: a charge for a week or month has no date, and spreading it evenly over its days would be a
-- guess. Such charges are in `cost_monthly` only.

{%- set within_a_day %}{{ later('day', 1, 'cast(charge_period_start as date)') }}{% endset %}

with

charges as (

    select * from {{ ref('charges') }}

),

additional_costs as (

    select * from {{ ref('int_cost__additional') }}

),

accounts as (

    select * from {{ ref('int_accounts__completed') }}

),

daily as (

    select
        provider,
        billing_account,
        account,
        sku_id,
        charge_category,
        cast(charge_period_start as date) as date,
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
    where charge_period_end <= {{ within_a_day }}
    group by
        provider, billing_account, account, sku_id, charge_category, cast(charge_period_start as date), unit, currency

),

additional_by_day as (

    select
        provider,
        billing_account,
        account,
        sku_id,
        date,
        unit,
        currency,
        sum(additional_cost) as additional_cost
    from additional_costs
    where timespan in ('hour', 'day')
    group by provider, billing_account, account, sku_id, date, unit, currency

),

final as (

    select
        daily.provider,
        daily.billing_account,
        daily.account,
        daily.sku_id,
        daily.charge_category,
        daily.date,
        cast(daily.quantity as numeric(28, 9)) as quantity,
        daily.unit,
        cast(daily.list_cost as numeric(28, 9)) as list_cost,
        cast(daily.contracted_cost as numeric(28, 9)) as contracted_cost,
        cast(daily.billed_cost as numeric(28, 9)) as billed_cost,
        cast(daily.effective_cost as numeric(28, 9)) as effective_cost,
        cast(daily.billed_cost + greatest(coalesce(additional_by_day.additional_cost, 0), 0) as numeric(28, 9)) as cost_high,
        daily.currency,
        {{- select_reporting('daily') }},
        daily.has_complete_charges and coalesce(
            cast(daily.date as {{ type_utc() }}) >= accounts.complete_from and daily.date < accounts.complete_before_date, false
        ) as is_complete
    from daily
    left join additional_by_day
        on daily.provider = additional_by_day.provider
        and daily.billing_account = additional_by_day.billing_account
        and daily.account = additional_by_day.account
        and daily.sku_id = additional_by_day.sku_id
        and daily.date = additional_by_day.date
        and daily.unit = additional_by_day.unit
        and daily.currency = additional_by_day.currency
        and daily.charge_category = 'Usage'
    left join accounts
        on daily.provider = accounts.provider
        and daily.account = accounts.account

)

select * from final
