-- One row per charge: the part of a usage bucket that falls into one price tier.
-- A bucket that crosses a tier boundary is two charges, so that quantity times unit price is the cost in every row.

with

priced_usage as (

    select * from {{ ref('int_usage__priced') }}

),

-- What is paid after use costs the same by all three measures.
usage_charges as (

    select
        provider,
        account as billing_account,
        account,
        meter,
        sku_id,
        sku_price_id,
        tier_no,
        cast(null as {{ dbt.type_string() }}) as grant_id,
        'Usage' as charge_category,
        cast(null as {{ dbt.type_string() }}) as charge_class,
        'Usage-Based' as charge_frequency,
        meter as charge_description,
        bucket_start as charge_period_start,
        bucket_end as charge_period_end,
        billing_month,
        quantity,
        unit,
        unit_price as list_unit_price,
        unit_price,
        list_cost,
        list_cost as contracted_cost,
        list_cost as billed_cost,
        list_cost as effective_cost,
        currency,
        is_complete
    from priced_usage
    where sku_price_id is not null

),

final as (

    select
        {{ dbt.hash(dbt.concat([
            'charge_category', "'|'", 'provider', "'|'", 'account', "'|'", 'meter', "'|'", 'sku_price_id', "'|'",
            'cast(charge_period_start as ' ~ dbt.type_string() ~ ')', "'|'",
            'cast(charge_period_end as ' ~ dbt.type_string() ~ ')',
        ])) }} as charge_id,
        provider,
        billing_account,
        account,
        meter,
        sku_id,
        sku_price_id,
        tier_no,
        grant_id,
        cast(charge_category as {{ dbt.type_string() }}) as charge_category,
        charge_class,
        cast(charge_frequency as {{ dbt.type_string() }}) as charge_frequency,
        charge_description,
        charge_period_start,
        charge_period_end,
        billing_month,
        quantity,
        unit,
        list_unit_price,
        unit_price,
        list_cost,
        contracted_cost,
        billed_cost,
        effective_cost,
        currency,
        is_complete
    from usage_charges

)

select * from final
