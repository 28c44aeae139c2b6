-- One row per provider, currency and quarter.

with

months as (

    select * from {{ ref('meterhouse', 'cost_monthly') }}

),

days as (

    select * from {{ ref('meterhouse', 'cost_daily') }}

),

last_days as (

    select
        provider,
        currency,
        max(date) as last_date
    from days
    group by provider, currency

),

final as (

    select
        months.provider,
        months.currency,
        cast({{ dbt.date_trunc('quarter', 'months.billing_month') }} as date) as quarter,
        sum(months.billed_cost) as billed_cost,
        max(last_days.last_date) as last_date
    from months
    left join last_days
        on months.provider = last_days.provider
        and months.currency = last_days.currency
    group by months.provider, months.currency, {{ dbt.date_trunc('quarter', 'months.billing_month') }}

)

select * from final
