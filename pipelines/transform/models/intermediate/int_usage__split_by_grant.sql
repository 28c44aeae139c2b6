-- One row per scenario, billed bucket of usage, and credit grant that covers part of it; the part without a grant has a row
-- without one.
-- The scenario `high` prices usage as the SKU that the vendor charges under a condition which the usage API does not report.
-- It holds only the SKUs whose price depends on that condition.

with

metered_usage as (

    select * from {{ ref('int_usage__metered') }}

),

drawn as (

    select * from {{ ref('int_credits__drawn') }}

),

-- Billed meters only: a vendor that bills credits also counts characters, which would otherwise appear as unpriced.
billed_usage as (

    select
        *,
        -- For credits only: grants cover nothing else, and building a text for each of a million hours takes time.
        case when unit = 'credit' then {{ usage_key() }} end as row_key
    from metered_usage
    where quantity <> 0 and coalesce(is_billed, true)

),

covered as (

    select
        row_key,
        sum(quantity) as quantity
    from drawn
    group by row_key

),

parts as (

    select
        billed_usage.*,
        drawn.grant_key,
        drawn.grant_id,
        drawn.quantity as part_quantity,
        drawn.effective_cost,
        drawn.unit_cost,
        drawn.currency
    from billed_usage
    inner join drawn
        on billed_usage.row_key = drawn.row_key

    union all

    select
        billed_usage.*,
        cast(null as {{ dbt.type_string() }}) as grant_key,
        cast(null as {{ dbt.type_string() }}) as grant_id,
        billed_usage.quantity - coalesce(covered.quantity, 0) as part_quantity,
        null as effective_cost,
        null as unit_cost,
        null as currency
    from billed_usage
    left join covered
        on billed_usage.row_key = covered.row_key
    where billed_usage.quantity <> coalesce(covered.quantity, 0)

),

computed as (

    select
        'computed' as scenario,
        provider,
        billing_account,
        account,
        meter,
        timespan,
        bucket_start,
        bucket_end,
        billing_date,
        billing_month,
        sku_id,
        sku_id as counted_sku_id,
        dearest_sku_id,
        unit,
        is_complete,
        grant_key,
        grant_id,
        part_quantity as quantity,
        effective_cost as grant_cost,
        unit_cost as grant_unit_cost,
        currency as grant_currency
    from parts

),

conditional_skus as (

    select distinct
        provider,
        dearest_sku_id
    from computed
    where dearest_sku_id <> sku_id

),

high as (

    select
        'high' as scenario,
        computed.provider,
        computed.billing_account,
        computed.account,
        computed.meter,
        computed.timespan,
        computed.bucket_start,
        computed.bucket_end,
        computed.billing_date,
        computed.billing_month,
        computed.dearest_sku_id as sku_id,
        computed.counted_sku_id,
        computed.dearest_sku_id,
        computed.unit,
        computed.is_complete,
        computed.grant_key,
        computed.grant_id,
        computed.quantity,
        computed.grant_cost,
        computed.grant_unit_cost,
        computed.grant_currency
    from computed
    inner join conditional_skus
        on computed.provider = conditional_skus.provider
        and computed.dearest_sku_id = conditional_skus.dearest_sku_id

),

unioned as (

    select * from computed
    union all
    select * from high

),

final as (

    select
        cast(scenario as {{ dbt.type_string() }}) as scenario,
        provider,
        billing_account,
        account,
        meter,
        timespan,
        bucket_start,
        bucket_end,
        billing_date,
        billing_month,
        sku_id,
        counted_sku_id,
        unit,
        is_complete,
        grant_key,
        grant_id,
        cast(quantity as numeric(28, 9)) as quantity,
        cast(grant_cost as numeric(28, 9)) as grant_cost,
        cast(grant_unit_cost as numeric(28, 9)) as grant_unit_cost,
        grant_currency
    from unioned

)

select * from final
