-- One row per scenario, part of a metered bucket, and tier of the list and contract price that it falls into.
-- Each quantity is in exactly one row of its scenario. Where `is_priced` is false, neither a price nor a grant covers it.
-- Such a row goes to `unpriced_usage` and every other row to `charges`, so that no usage is lost between the two.
-- Longer than 200 lines: pools, list price, contract price and the price of a grant split each quantity together.

with

parts as (

    select * from {{ ref('int_usage__split_by_grant') }}

),

tiers as (

    select * from {{ ref('int_prices__tiers') }}

),

covered as (

    select
        *,
        case when grant_key is null then 0 else 1 end as is_covered
    from parts

),

-- Tiers count the usage of a billing account, SKU and billing month together, as one pool: all meters of the SKU, and all
-- accounts and apps of the billing account. A price change does not restart the pool. Usage that a grant covers has a pool
-- of its own, so that it fills no tier of the paid usage. Account and meter are in the order so that every build splits a
-- bucket in the same way.
pooled as (

    select
        *,
        sum(quantity) over (
            partition by scenario, provider, billing_account, sku_id, billing_month, is_covered
            order by bucket_start, bucket_end, account, meter, grant_key
            rows between unbounded preceding and current row
        ) as pool_after,
        sum(quantity) over (
            partition by scenario, provider, billing_account, sku_id, billing_month, is_covered
        ) as pool_total
    from covered

),

contracts as (

    select
        provider,
        coalesce(billing_account, '') as billing_account,
        sku_id,
        valid_from,
        valid_to,
        min(currency) as currency
    from tiers
    where is_contract
    group by provider, coalesce(billing_account, ''), sku_id, valid_from, valid_to

),

-- A contract of the billing account takes precedence over one of all its provider's accounts. A negative count, by which a
-- vendor takes usage back, goes back down the tiers that the usage went up.
spans as (

    select
        pooled.*,
        least(pooled.pool_after - pooled.quantity, pooled.pool_after) as span_from,
        greatest(pooled.pool_after - pooled.quantity, pooled.pool_after) as span_to,
        case when pooled.quantity < 0 then -1 else 1 end as direction,
        coalesce(own.billing_account, common.billing_account) as contract_account,
        coalesce(own.valid_from, common.valid_from) as contract_from,
        coalesce(own.currency, common.currency) as currency_of_contract
    from pooled
    left join contracts as own
        on pooled.provider = own.provider
        and pooled.billing_account = own.billing_account
        and own.billing_account <> ''
        and pooled.sku_id = own.sku_id
        and pooled.billing_date >= own.valid_from
        and (pooled.billing_date < own.valid_to or own.valid_to is null)
    left join contracts as common
        on pooled.provider = common.provider
        and common.billing_account = ''
        and pooled.sku_id = common.sku_id
        and pooled.billing_date >= common.valid_from
        and (pooled.billing_date < common.valid_to or common.valid_to is null)

),

-- The first tier has no lower bound and the last one no upper bound, because corrections may reduce a pool below zero. Under
-- volume pricing the tier of the whole month prices all usage: a span is not split.
bounded_tiers as (

    select
        is_contract,
        provider,
        coalesce(billing_account, '') as billing_account,
        sku_id,
        sku_price_id,
        tier_no,
        unit_price,
        currency,
        valid_from,
        valid_to,
        price_basis,
        price_file,
        price_row,
        case when pricing_model = 'volume' then null else nullif(tier_from, 0) end as tier_from,
        case when pricing_model = 'volume' then null else tier_to end as tier_to,
        case when pricing_model = 'volume' then nullif(tier_from, 0) end as total_above,
        case when pricing_model = 'volume' then tier_to end as total_up_to
    from tiers

),

-- A missing bound falls back to the span's own, because the least of a value and null is null on some warehouses.
listed as (

    select
        spans.*,
        list_tiers.sku_price_id as list_sku_price_id,
        list_tiers.tier_no as list_tier_no,
        list_tiers.unit_price as list_unit_price,
        list_tiers.currency as list_currency,
        list_tiers.price_basis as list_basis,
        list_tiers.valid_from as list_from,
        greatest(spans.span_from, coalesce(list_tiers.tier_from, spans.span_from)) as slice_from,
        least(spans.span_to, coalesce(list_tiers.tier_to, spans.span_to)) as slice_to
    from spans
    left join bounded_tiers as list_tiers
        on not list_tiers.is_contract
        and spans.sku_id = list_tiers.sku_id
        and spans.billing_date >= list_tiers.valid_from
        and (spans.billing_date < list_tiers.valid_to or list_tiers.valid_to is null)
        and spans.span_to > coalesce(list_tiers.tier_from, spans.span_from)
        and spans.span_from < coalesce(list_tiers.tier_to, spans.span_to)
        and (spans.pool_total > list_tiers.total_above or list_tiers.total_above is null)
        and (spans.pool_total <= list_tiers.total_up_to or list_tiers.total_up_to is null)

),

-- Usage that a grant covers is priced at what was paid for the grant; a contract prices only usage beyond the grants.
contracted as (

    select
        listed.*,
        own_tiers.sku_price_id as contract_sku_price_id,
        own_tiers.tier_no as contract_tier_no,
        own_tiers.unit_price as contract_unit_price,
        own_tiers.currency as contract_currency,
        own_tiers.price_file,
        own_tiers.price_row,
        greatest(listed.slice_from, coalesce(own_tiers.tier_from, listed.slice_from)) as part_from,
        least(listed.slice_to, coalesce(own_tiers.tier_to, listed.slice_to)) as part_to
    from listed
    left join bounded_tiers as own_tiers
        on own_tiers.is_contract
        and listed.is_covered = 0
        and listed.provider = own_tiers.provider
        and listed.contract_account = own_tiers.billing_account
        and listed.contract_from = own_tiers.valid_from
        and listed.sku_id = own_tiers.sku_id
        and listed.slice_to > coalesce(own_tiers.tier_from, listed.slice_from)
        and listed.slice_from < coalesce(own_tiers.tier_to, listed.slice_to)
        and (listed.pool_total > own_tiers.total_above or own_tiers.total_above is null)
        and (listed.pool_total <= own_tiers.total_up_to or own_tiers.total_up_to is null)

),

-- A row has one currency: that of its grant's cost, else that of its price. Usage that a free grant covers costs 0, so any
-- currency will do.
denominated as (

    select
        *,
        case
            when is_covered = 1 then grant_unit_cost else coalesce(contract_unit_price, list_unit_price)
        end as any_unit_price,
        case
            when is_covered = 0 then coalesce(contract_currency, list_currency)
            else coalesce(
                case when grant_cost <> 0 or grant_unit_cost <> 0 then grant_currency end,
                currency_of_contract, list_currency, grant_currency, 'USD'
            )
        end as row_currency
    from contracted

),

costed as (

    select
        *,
        direction * (part_to - part_from) as slice_quantity,
        any_unit_price as unit_price,
        -- Without a public price in the currency of the row, the price paid is the list price.
        case when list_currency = row_currency then list_unit_price else any_unit_price end as comparable_list_price,
        case
            when grant_key is not null then null
            when contract_unit_price is not null then 'contract'
            when list_unit_price is not null then 'list'
        end as price_source,
        -- From running totals, so that the slices add up to exactly the cost of the bucket.
        case
            when grant_key is null then null
            when part_from = span_from and part_to = span_to then grant_cost
            else
                {{ allocated('grant_cost', 'part_to - span_from', 'span_to - span_from') }}
                - {{ allocated('grant_cost', 'part_from - span_from', 'span_to - span_from') }}
        end as slice_grant_cost
    from denominated

),

final as (

    select
        scenario,
        provider,
        billing_account,
        account,
        meter,
        timespan,
        sku_id,
        counted_sku_id,
        coalesce(contract_sku_price_id, list_sku_price_id) as sku_price_id,
        list_sku_price_id,
        coalesce(contract_tier_no, list_tier_no) as tier_no,
        -- A boundary of the list price splits a tier of the contract into two rows.
        case
            when contract_tier_no is not null and (slice_from <> span_from or slice_to <> span_to) then list_tier_no
        end as slice_key,
        grant_key,
        grant_id,
        bucket_start,
        bucket_end,
        billing_date,
        billing_month,
        cast(slice_quantity as numeric(28, 9)) as quantity,
        unit,
        cast(comparable_list_price as numeric(28, 9)) as list_unit_price,
        cast(unit_price as numeric(28, 9)) as unit_price,
        cast(slice_quantity * comparable_list_price as numeric(28, 9)) as list_cost,
        cast(slice_quantity * unit_price as numeric(28, 9)) as contracted_cost,
        cast(case when grant_key is null then slice_quantity * unit_price else 0 end as numeric(28, 9)) as billed_cost,
        cast(
            case when grant_key is null then slice_quantity * unit_price else slice_grant_cost end as numeric(28, 9)
        ) as effective_cost,
        case when unit_price is not null or grant_key is not null then row_currency end as currency,
        unit_price is not null or grant_key is not null as is_priced,
        is_complete,
        cast(price_source as {{ dbt.type_string() }}) as price_source,
        case when price_source = 'list' then list_basis end as price_basis,
        case price_source when 'contract' then contract_from when 'list' then list_from end as price_valid_from,
        case when price_source = 'contract' then price_file end as price_file,
        case when price_source = 'contract' then price_row end as price_row
    from costed

)

select * from final
