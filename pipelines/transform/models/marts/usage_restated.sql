-- One row per account, meter, bucket and run that restated or withdrew usage after its bucket was complete.
--
-- `cost_change` re-rates the month: the present usage of the SKU that no grant covers is wound back, restatement by
-- restatement, and each is the cost after it minus the cost before it, both at the present prices of the bucket's day. So the
-- rows of a month add up to what all its restatements together did to its cost.
-- Longer than 200 lines: it dates and maps the usage, winds it back, and rates it twice.

{%- set slices = {
    'before': 'matched.pool_before',
    'after': 'matched.pool_after',
} %}

with

superseded as (

    select * from {{ ref('int_usage__superseded') }}

),

billing_accounts as (

    select * from {{ ref('stg_billing__accounts') }}

),

skus as (

    select * from {{ ref('int_skus__mapped') }}

),

priced_usage as (

    select * from {{ ref('int_usage__priced') }}
    where scenario = 'computed'

),

tiers as (

    select * from {{ ref('int_prices__tiers') }}

),

periods as (

    select * from {{ ref('int_billing__closed_periods') }}

),

restatements as (

    select
        *,
        quantity_after - quantity_before as quantity,
        cast(null as bigint) as request_count,
        true as is_complete
    from superseded

),

{{ metered('restatements', also=[
    'resource', 'quantity_before', 'quantity_after', 'first_seen_at', 'restated_at', 'restated_by', 'is_withdrawn',
]) }},

numbered as (

    select
        *,
        row_number() over (
            partition by provider, billing_account
            order by restated_at, account, meter, bucket_start, bucket_end, restated_by
        ) as restatement
    from metered

),

closed as (

    select distinct
        numbered.provider,
        numbered.billing_account,
        numbered.restatement,
        true as is_closed
    from numbered
    inner join periods
        on {{ is_in_period('numbered', 'periods') }}
        and periods.closed_at < numbered.restated_at

),

-- The present usage of a month that no grant covers, which is what tiers count.
pools as (

    select
        provider,
        billing_account,
        sku_id,
        billing_month,
        sum(case when grant_key is null then quantity else 0 end) as quantity,
        max(case when grant_key is null then 0 else 1 end) as has_grant,
        max(
            {{ dbt.concat(["coalesce(price_source, '')", date_text("coalesce(price_valid_from, billing_month)")]) }}
        ) <> min(
            {{ dbt.concat(["coalesce(price_source, '')", date_text("coalesce(price_valid_from, billing_month)")]) }}
        ) as is_repriced
    from priced_usage
    where sku_id is not null
    group by provider, billing_account, sku_id, billing_month

),

wound_back as (

    select
        numbered.*,
        coalesce(pools.has_grant, 0) = 1 as has_grant,
        coalesce(pools.has_grant = 1 or pools.is_repriced, false) as is_estimate,
        coalesce(pools.quantity, 0) - coalesce(
            sum(numbered.quantity) over (
                partition by numbered.provider, numbered.billing_account, numbered.sku_id, numbered.billing_month
                order by numbered.restatement
                rows between 1 following and unbounded following
            ),
            0
        ) as pool_after
    from numbered
    left join pools
        on numbered.provider = pools.provider
        and numbered.billing_account = pools.billing_account
        and numbered.sku_id = pools.sku_id
        and numbered.billing_month = pools.billing_month

),

-- A contract of the billing account takes precedence over one of all its provider's accounts, and that over the list.
matched as (

    select
        wound_back.provider,
        wound_back.billing_account,
        wound_back.restatement,
        case
            when wound_back.has_grant then greatest(wound_back.pool_after, 0) else wound_back.pool_after
        end as pool_after,
        case
            when wound_back.has_grant then greatest(wound_back.pool_after - wound_back.quantity, 0)
            else wound_back.pool_after - wound_back.quantity
        end as pool_before,
        tiers.pricing_model,
        tiers.tier_from,
        tiers.tier_to,
        tiers.unit_price,
        tiers.currency,
        rank() over (
            partition by wound_back.provider, wound_back.billing_account, wound_back.restatement
            order by case when not tiers.is_contract then 3 when tiers.billing_account = '' then 2 else 1 end
        ) as preference
    from wound_back
    inner join tiers
        on wound_back.provider = tiers.provider
        and wound_back.sku_id = tiers.sku_id
        and tiers.billing_account in ('', wound_back.billing_account)
        and wound_back.billing_date >= tiers.valid_from
        and (wound_back.billing_date < tiers.valid_to or tiers.valid_to is null)

),

-- As in `int_usage__priced`: the first tier has no lower bound, and under volume pricing one tier prices all usage.
sliced as (

    select
        provider,
        billing_account,
        restatement,
        unit_price,
        currency,
        {%- for name, pool in slices.items() %}
        case
            when matched.pricing_model <> 'volume' and matched.tier_from = 0
                then least({{ pool }}, coalesce(matched.tier_to, {{ pool }}))
            when matched.pricing_model <> 'volume'
                then greatest(least({{ pool }}, coalesce(matched.tier_to, {{ pool }})) - matched.tier_from, 0)
            when
                ({{ pool }} > matched.tier_from or matched.tier_from = 0)
                and ({{ pool }} <= matched.tier_to or matched.tier_to is null)
                then {{ pool }}
            else 0
        end as quantity_{{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from matched
    where preference = 1

),

rated as (

    select
        provider,
        billing_account,
        restatement,
        min(currency) as currency,
        sum(cast((quantity_after - quantity_before) as numeric(28, 9)) * unit_price) as cost_change
    from sliced
    group by provider, billing_account, restatement

),

final as (

    select
        wound_back.provider,
        wound_back.billing_account,
        wound_back.account,
        wound_back.resource,
        wound_back.meter,
        wound_back.bucket_start,
        wound_back.bucket_end,
        wound_back.billing_month,
        wound_back.sku_id,
        wound_back.unit,
        wound_back.quantity_before,
        wound_back.quantity_after,
        wound_back.first_seen_at,
        wound_back.restated_at,
        wound_back.restated_by,
        wound_back.is_withdrawn,
        coalesce(closed.is_closed, false) as was_closed,
        cast(rated.cost_change as numeric(28, 9)) as cost_change,
        rated.currency,
        rated.currency is not null and wound_back.is_estimate as is_estimate
    from wound_back
    left join closed
        on wound_back.provider = closed.provider
        and wound_back.billing_account = closed.billing_account
        and wound_back.restatement = closed.restatement
    left join rated
        on wound_back.provider = rated.provider
        and wound_back.billing_account = rated.billing_account
        and wound_back.restatement = rated.restatement

)

select * from final
