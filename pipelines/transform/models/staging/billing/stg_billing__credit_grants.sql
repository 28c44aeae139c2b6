-- One row per grant of credits, or of money to be spent on usage.
-- By default, usage draws on included credits first, then on promotional ones, then on purchased ones.

with

credit_grants as (

    select * from {{ raw_table('billing', 'credit_grants') }}

),

final as (

    select
        provider,
        billing_account,
        grant_id,
        kind,
        unit,
        cast(amount as numeric(28, 9)) as amount,
        cast(starts_on as date) as starts_on,
        cast(expires_on as date) as expires_on,
        renews,
        cast(
            coalesce(
                priority,
                case kind when 'included' then 1 when 'promotional' then 2 else 3 end
            ) as integer
        ) as priority,
        cast(cost as numeric(28, 9)) as cost,
        currency
    from credit_grants

)

select * from final
