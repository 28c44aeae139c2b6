-- One row per provider, account, meter and month whose usage is not the sum of its charged and its unpriced usage.

with

usage_by_month as (

    select
        provider,
        account,
        meter,
        {{ dbt.date_trunc('month', 'bucket_start') }} as month,
        sum(quantity) as metered,
        0 as charged,
        0 as unpriced
    from {{ ref('int_usage__metered') }}
    where is_billed
    group by provider, account, meter, {{ dbt.date_trunc('month', 'bucket_start') }}

),

charged_by_month as (

    select
        provider,
        account,
        meter,
        {{ dbt.date_trunc('month', 'charge_period_start') }} as month,
        0 as metered,
        sum(quantity) as charged,
        0 as unpriced
    from {{ ref('charges') }}
    -- Credits that expire unused have no meter.
    where charge_category = 'Usage' and meter <> ''
    group by provider, account, meter, {{ dbt.date_trunc('month', 'charge_period_start') }}

),

unpriced_by_month as (

    select
        provider,
        account,
        meter,
        {{ dbt.date_trunc('month', 'date') }} as month,
        0 as metered,
        0 as charged,
        sum(quantity) as unpriced
    from {{ ref('unpriced_usage') }}
    where reason <> 'no model'
    group by provider, account, meter, {{ dbt.date_trunc('month', 'date') }}

),

unioned as (

    select * from usage_by_month
    union all
    select * from charged_by_month
    union all
    select * from unpriced_by_month

),

final as (

    select
        provider,
        account,
        meter,
        month,
        sum(metered) as metered,
        sum(charged) as charged,
        sum(unpriced) as unpriced
    from unioned
    group by provider, account, meter, month
    having sum(metered) <> sum(charged) + sum(unpriced)

)

select * from final
