-- One row per provider, billing account, account, date and currency whose owners do not add up to its cost.

with

owned as (

    select
        provider,
        billing_account,
        account,
        date,
        currency,
        billed_cost,
        effective_cost,
        1 as is_owned
    from {{ ref('cost_by_owner_daily') }}

),

cost_daily as (

    select
        provider,
        billing_account,
        account,
        date,
        currency,
        -billed_cost as billed_cost,
        -effective_cost as effective_cost,
        0 as is_owned
    from {{ ref('cost_daily') }}

),

unioned as (

    select * from owned
    union all
    select * from cost_daily

),

final as (

    select
        provider,
        billing_account,
        account,
        date,
        currency,
        sum(billed_cost) as billed_difference,
        sum(effective_cost) as effective_difference
    from unioned
    group by provider, billing_account, account, date, currency
    having sum(billed_cost) <> 0 or sum(effective_cost) <> 0 or max(is_owned) = 0 or min(is_owned) = 1

)

select * from final
