-- One row per provider, billing account, account, SKU, unit, currency, timespan, billing date and UTC date of usage that the
-- vendor may charge as a more expensive SKU, with the additional cost in that case, before monetary credits.
-- The additional cost may be negative: the units of both SKUs share the tiers of the other SKU, and may reach a cheaper one.

with

priced_usage as (

    select * from {{ ref('int_usage__priced') }}
    where is_priced

),

scenarios as (

    select * from {{ ref('int_billing__scenarios') }}

),

{{ usage_as_billed('priced_usage') }},

final as (

    select
        provider,
        billing_account,
        account,
        counted_sku_id as sku_id,
        unit,
        currency,
        timespan,
        billing_month,
        billing_date,
        cast(bucket_start as date) as date,
        cast(
            sum(case when scenario = 'high' then billed_cost else -billed_cost end) as numeric(28, 9)
        ) as additional_cost
    from usage_as_billed
    group by
        provider, billing_account, account, counted_sku_id, unit, currency, timespan, billing_month, billing_date,
        cast(bucket_start as date)
    having count(case when scenario = 'high' then 1 end) > 0

)

select * from final
