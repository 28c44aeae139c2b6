-- One row per error in the price list.
-- Tiers that do not adjoin would leave usage without a price, and tiers that overlap would charge it twice. Neither shows in
-- the total of a month that does not reach the tier.

with

price_list as (

    select * from {{ ref('price_list') }}

),

tiers as (

    select
        *,
        lag(tier_no) over (partition by sku_id, valid_from order by tier_no) as previous_tier_no,
        lag(tier_to) over (partition by sku_id, valid_from order by tier_no) as previous_tier_to,
        lead(tier_no) over (partition by sku_id, valid_from order by tier_no) as next_tier_no
    from price_list

),

versions as (

    select
        sku_id,
        valid_from,
        min(valid_to) as valid_to,
        count(valid_to) as ended_tiers,
        count(*) as tiers,
        min(valid_to) <> max(valid_to) as has_several_ends,
        count(distinct pricing_model) as pricing_models,
        max(pricing_model) as pricing_model
    from price_list
    group by sku_id, valid_from

),

ordered_versions as (

    select
        *,
        lead(valid_from) over (partition by sku_id order by valid_from) as next_valid_from
    from versions

),

skus as (

    select
        sku_id,
        count(distinct unit) as units,
        count(distinct currency) as currencies
    from price_list
    group by sku_id

),

errors as (

    select
        sku_id,
        valid_from,
        'the tiers do not run from 0 to infinity, each from the end of the one before' as error
    from tiers
    where
        tier_no <> coalesce(previous_tier_no, 0) + 1
        or tier_from <> coalesce(previous_tier_to, 0)
        or (previous_tier_no is not null and previous_tier_to is null)
        or (next_tier_no is null and tier_to is not null)
        or tier_to <= tier_from

    union all

    select
        sku_id,
        valid_from,
        'the tiers do not share one pricing model and one end, or a flat price has more than one' as error
    from versions
    where
        has_several_ends
        or ended_tiers not in (0, tiers)
        or pricing_models > 1
        or (pricing_model = 'flat' and tiers > 1)

    union all

    select
        sku_id,
        valid_from,
        'the price does not end when the next one begins' as error
    from ordered_versions
    where
        valid_to <= valid_from
        or next_valid_from <> valid_to
        or (next_valid_from is not null and valid_to is null)

    union all

    select
        sku_id,
        cast(null as date) as valid_from,
        'the SKU changes its unit or its currency' as error
    from skus
    where units > 1 or currencies > 1

    union all

    select
        sku_map.sku_id,
        cast(null as date) as valid_from,
        'sku_map counts another unit than the price is for' as error
    from {{ ref('sku_map') }} as sku_map
    inner join price_list
        on sku_map.sku_id = price_list.sku_id
        and sku_map.unit <> price_list.unit

)

select * from errors
