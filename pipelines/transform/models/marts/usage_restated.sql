-- One row per account, meter, bucket and run that restated or withdrew usage after its bucket was complete.
--
-- `cost_change` re-rates the month. The model starts from the present usage of the SKU that no grant covers, and undoes the
-- restatements, the latest first. The change is the month's cost after a restatement minus the cost before it, both at the
-- present prices for the bucket's day. So the rows of a month add up to the effect of all its restatements.
-- Longer than 200 lines: it dates and maps the usage, undoes the restatements, and rates the usage twice.

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

closing_events as (

    select * from {{ frozen_before() }}
    where timespan = 'period'

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

-- A period that was reopened later counts as closed until then.
closed as (

    select distinct
        numbered.provider,
        numbered.billing_account,
        numbered.restatement,
        true as is_closed
    from numbered
    inner join closing_events as closings
        on {{ is_in_period('numbered', 'closings') }}
        and closings.event = 'closed'
        and closings.closed_at < numbered.restated_at
    left join closing_events as reopenings
        on closings.provider = reopenings.provider
        and closings.account = reopenings.account
        and reopenings.meter in ('', closings.meter)
        and reopenings.event = 'reopened'
        and closings.period_start >= reopenings.period_start
        and closings.period_end <= reopenings.period_end
        and closings.closed_at < reopenings.closed_at
        and reopenings.closed_at < numbered.restated_at
    where reopenings.event is null

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

with_pools as (

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

-- A contract of the billing account takes precedence over one of all its provider's accounts, and both over the list.
matched as (

    select
        with_pools.provider,
        with_pools.billing_account,
        with_pools.restatement,
        case
            when with_pools.has_grant then greatest(with_pools.pool_after, 0) else with_pools.pool_after
        end as pool_after,
        case
            when with_pools.has_grant then greatest(with_pools.pool_after - with_pools.quantity, 0)
            else with_pools.pool_after - with_pools.quantity
        end as pool_before,
        tiers.pricing_model,
        tiers.tier_from,
        tiers.tier_to,
        tiers.unit_price,
        tiers.currency,
        rank() over (
            partition by with_pools.provider, with_pools.billing_account, with_pools.restatement
            order by case when not tiers.is_contract then 3 when tiers.billing_account = '' then 2 else 1 end
        ) as preference
    from with_pools
    inner join tiers
        on with_pools.provider = tiers.provider
        and with_pools.sku_id = tiers.sku_id
        and tiers.billing_account in ('', with_pools.billing_account)
        and with_pools.billing_date >= tiers.valid_from
        and (with_pools.billing_date < tiers.valid_to or tiers.valid_to is null)

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
        with_pools.provider,
        with_pools.billing_account,
        with_pools.account,
        with_pools.resource,
        with_pools.meter,
        with_pools.bucket_start,
        with_pools.bucket_end,
        with_pools.billing_month,
        with_pools.sku_id,
        with_pools.unit,
        with_pools.quantity_before,
        with_pools.quantity_after,
        with_pools.first_seen_at,
        with_pools.restated_at,
        with_pools.restated_by,
        with_pools.is_withdrawn,
        coalesce(closed.is_closed, false) as was_closed,
        cast(rated.cost_change as numeric(28, 9)) as cost_change,
        rated.currency,
        rated.currency is not null and with_pools.is_estimate as is_estimate
    from with_pools
    left join closed
        on with_pools.provider = closed.provider
        and with_pools.billing_account = closed.billing_account
        and with_pools.restatement = closed.restatement
    left join rated
        on with_pools.provider = rated.provider
        and with_pools.billing_account = rated.billing_account
        and with_pools.restatement = rated.restatement

)

select * from final
