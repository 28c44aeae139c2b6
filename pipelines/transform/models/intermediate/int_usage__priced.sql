-- One row per metered bucket and price tier that it draws on.
-- Every quantity is in exactly one row's `quantity`. Where `sku_price_id` is null, no price covers it: such a row goes
-- to `unpriced_usage` and all others to `charges`, so that nothing can fall between the two.

with

metered_usage as (

    select * from {{ ref('int_usage__metered') }}

),

price_list as (

    select * from {{ ref('price_list') }}

),

-- Only what is billed: a vendor that bills credits and counts characters beside them would be shown as unpriced.
-- A pool of tiers is the billing account's, per SKU and billing month: all meters of a SKU share it, and so do the apps
-- behind the account. It counts on over a price change. The meter in the order keeps the split the same in every build.
pooled as (

    select
        *,
        sum(quantity) over (
            partition by provider, account, sku_id, billing_month
            order by bucket_start, bucket_end, meter
            rows between unbounded preceding and current row
        ) as pool_after
    from metered_usage
    where quantity <> 0 and coalesce(is_billed, true)

),

-- A negative count, with which a vendor would take usage back, walks down the tiers that it had walked up.
spans as (

    select
        *,
        least(pool_after - quantity, pool_after) as span_from,
        greatest(pool_after - quantity, pool_after) as span_to,
        case when quantity < 0 then -1 else 1 end as direction
    from pooled

),

-- The first tier is open below as the last is above, for a pool that is taken back to less than nothing.
tiers as (

    select
        sku_id,
        sku_price_id,
        tier_no,
        nullif(tier_from, 0) as tier_from,
        tier_to,
        unit_price,
        currency,
        valid_from,
        valid_to
    from price_list

),

-- A tier's bounds fall back to the span's own, because some warehouses answer null to the least of a value and null.
sliced as (

    select
        spans.*,
        tiers.sku_price_id,
        tiers.tier_no,
        tiers.unit_price,
        tiers.currency,
        case
            when tiers.sku_price_id is null then spans.quantity
            else spans.direction * (
                least(spans.span_to, coalesce(tiers.tier_to, spans.span_to))
                - greatest(spans.span_from, coalesce(tiers.tier_from, spans.span_from))
            )
        end as slice_quantity
    from spans
    left join tiers
        on spans.sku_id = tiers.sku_id
        and spans.billing_date >= tiers.valid_from
        and (spans.billing_date < tiers.valid_to or tiers.valid_to is null)
        and spans.span_to > coalesce(tiers.tier_from, spans.span_from)
        and spans.span_from < coalesce(tiers.tier_to, spans.span_to)

),

final as (

    select
        provider,
        account,
        meter,
        sku_id,
        sku_price_id,
        tier_no,
        bucket_start,
        bucket_end,
        billing_month,
        cast(slice_quantity as numeric(28, 9)) as quantity,
        unit,
        cast(unit_price as numeric(28, 9)) as unit_price,
        cast(slice_quantity * unit_price as numeric(28, 9)) as list_cost,
        currency,
        is_complete
    from sliced

)

select * from final
