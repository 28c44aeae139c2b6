-- One row per scenario, billed bucket of usage, and credit grant that covers part of it; the part without a grant has a row
-- without one.
-- The scenario `high` prices usage as the SKU that the vendor charges under a condition which the usage API does not report.
-- It holds only the SKUs whose price depends on that condition, with the billed quantities of the month.

with

usage as (

    select * from {{ ref('int_usage__in_scenarios') }}

),

drawn as (

    select * from {{ ref('int_credits__drawn') }}

),

scenarios as (

    select * from {{ ref('int_billing__scenarios') }}

),

-- Billed meters only: a vendor that bills credits also counts characters, which would otherwise appear as unpriced.
billed_usage as (

    select
        *,
        -- For credits only: grants cover nothing else, and building a text for each of a million hours takes time.
        case when unit = 'credit' then {{ usage_key() }} end as row_key
    from usage
    where quantity <> 0 and coalesce(is_billed, true)

),

covered as (

    select
        scenario,
        row_key,
        sum(quantity) as quantity
    from drawn
    group by scenario, row_key

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
        on billed_usage.scenario = drawn.scenario
        and billed_usage.row_key = drawn.row_key

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
        on billed_usage.scenario = covered.scenario
        and billed_usage.row_key = covered.row_key
    where billed_usage.quantity <> coalesce(covered.quantity, 0)

),

rated as (

    select
        scenario,
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
        highest_priced_sku_id,
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
        highest_priced_sku_id
    from rated
    where highest_priced_sku_id <> sku_id

),

{{ usage_as_billed('rated') }},

high as (

    select
        'high' as scenario,
        billed.provider,
        billed.billing_account,
        billed.account,
        billed.meter,
        billed.timespan,
        billed.bucket_start,
        billed.bucket_end,
        billed.billing_date,
        billed.billing_month,
        billed.highest_priced_sku_id as sku_id,
        billed.counted_sku_id,
        billed.highest_priced_sku_id,
        billed.unit,
        billed.is_complete,
        billed.grant_key,
        billed.grant_id,
        billed.quantity,
        billed.grant_cost,
        billed.grant_unit_cost,
        billed.grant_currency
    from usage_as_billed as billed
    inner join conditional_skus
        on billed.provider = conditional_skus.provider
        and billed.highest_priced_sku_id = conditional_skus.highest_priced_sku_id

),

unioned as (

    select * from rated
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
