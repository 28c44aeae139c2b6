-- One row per grant that overlaps an earlier one although it must not: grants of one turn, because usage would draw on both
-- at once, and periods of one renewing grant.

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
        ) as turn_taken_until,
        max(coalesce(expires_on, cast('9999-12-31' as date))) over (
            partition by provider, billing_account, grant_id
            order by starts_on, grant_key
            rows between unbounded preceding and 1 preceding
        ) as grant_valid_until
    from granted

),

final as (

    select
        provider,
        billing_account,
        grant_key
    from ordered
    where starts_on < turn_taken_until or starts_on < grant_valid_until

)

select * from final
