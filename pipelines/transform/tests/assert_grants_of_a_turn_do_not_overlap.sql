-- One row per two grants of a turn that are valid on the same day: usage would draw on both at once.

with

granted as (

    select * from {{ ref('int_credits__granted') }}

),

ordered as (

    select
        *,
        max(coalesce(expires_on, cast('9999-12-31' as date))) over (
            partition by provider, billing_account, unit, turn
            order by starts_on, grant_key
            rows between unbounded preceding and 1 preceding
        ) as taken_until
    from granted

),

final as (

    select
        provider,
        billing_account,
        grant_key
    from ordered
    where starts_on < taken_until

)

select * from final
