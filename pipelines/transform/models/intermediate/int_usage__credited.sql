-- One row per priced row of usage in a scenario, except `high`, with its share of the monetary credits that pay for it.
-- Monetary credits are drawn once per day. Each row of the day has a share of the amount drawn, in proportion to its cost. The
-- shares are computed from running totals, so that they add up to exactly the amount.

{{ config(materialized='view') }}

with

priced_usage as (

    select * from {{ ref('int_usage__priced') }}
    where scenario <> 'high' and is_priced

),

discounts as (

    select * from {{ ref('int_discounts__drawn') }}

),

daily_discounts as (

    select
        scenario,
        provider,
        billing_account,
        currency,
        billing_date,
        sum(case when is_prepaid then 0 else amount end) as credited,
        sum(case when is_prepaid then amount else 0 end) as prepaid,
        sum(effective_cost) as prepaid_cost
    from discounts
    group by scenario, provider, billing_account, currency, billing_date

),

discounted as (

    select
        priced_usage.*,
        daily_discounts.credited as credited_on_date,
        daily_discounts.prepaid as prepaid_on_date,
        daily_discounts.prepaid_cost as prepaid_cost_on_date,
        daily_discounts.billing_date is not null and priced_usage.billed_cost <> 0 as has_share
    from priced_usage
    left join daily_discounts
        on priced_usage.scenario = daily_discounts.scenario
        and priced_usage.provider = daily_discounts.provider
        and priced_usage.billing_account = daily_discounts.billing_account
        and priced_usage.currency = daily_discounts.currency
        and priced_usage.billing_date = daily_discounts.billing_date

),

-- Only rows with a share, because a window over years of hours without credits takes long and has no effect.
summed as (

    select
        *,
        sum(billed_cost) over (
            partition by scenario, provider, billing_account, currency, billing_date
            order by bucket_start, bucket_end, account, meter, sku_price_id, coalesce(list_sku_price_id, '')
            rows between unbounded preceding and current row
        ) as cost_until,
        sum(billed_cost) over (partition by scenario, provider, billing_account, currency, billing_date) as cost_on_date
    from discounted
    where has_share

),

{%- set columns = [
    'scenario', 'provider', 'billing_account', 'account', 'meter', 'timespan', 'sku_id', 'sku_price_id', 'list_sku_price_id', 'tier_no',
    'slice_key', 'grant_key', 'grant_id', 'bucket_start', 'bucket_end', 'billing_date', 'billing_month', 'quantity', 'unit',
    'list_unit_price', 'unit_price', 'list_cost', 'contracted_cost', 'billed_cost', 'effective_cost', 'currency',
    'is_complete', 'price_source', 'price_basis', 'price_valid_from', 'price_file', 'price_row',
] %}

final as (

    select
        {{ columns | join(', ') }},
        {%- for share in ['credited', 'prepaid', 'prepaid_cost'] %}
        cast(coalesce(
            {{ allocated(share ~ '_on_date', 'cost_until', 'cost_on_date') }}
            - {{ allocated(share ~ '_on_date', 'cost_until - billed_cost', 'cost_on_date') }}, 0
        ) as numeric(28, 9)) as {{ share }}{{ ',' if not loop.last }}
        {%- endfor %}
    from summed

    union all

    select
        {{ columns | join(', ') }},
        cast(0 as numeric(28, 9)) as credited,
        cast(0 as numeric(28, 9)) as prepaid,
        cast(0 as numeric(28, 9)) as prepaid_cost
    from discounted
    where not has_share

)

select * from final
