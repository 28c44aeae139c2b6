-- One row per provider and account in the accounts file of the user.

with

accounts as (

    select * from {{ raw_table('billing', 'accounts') }}

),

final as (

    select
        provider,
        account,
        coalesce(nullif(billing_account, ''), account) as billing_account,
        billing_timezone,
        plan,
        cast(signed_up_on as date) as signed_up_on
    from accounts

)

select * from final
