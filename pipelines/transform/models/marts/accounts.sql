-- One row per provider and account that was loaded or is in your accounts file.

with

windows as (

    select * from {{ ref('int_windows__fetched') }}

),

billing_accounts as (

    select * from {{ ref('stg_billing__accounts') }}

),

completed as (

    select * from {{ ref('int_accounts__completed') }}

),

known as (

    select
        provider,
        account
    from windows

    union distinct

    select
        provider,
        account
    from billing_accounts

),

final as (

    select
        cast(known.provider as {{ dbt.type_string() }}) as provider,
        cast(known.account as {{ dbt.type_string() }}) as account,
        cast(coalesce(billing_accounts.billing_account, known.account) as {{ dbt.type_string() }}) as billing_account,
        cast({{ billing_timezone('known.provider', 'billing_accounts.billing_timezone') }} as {{ dbt.type_string() }})
            as billing_timezone,
        cast(nullif(billing_accounts.plan, '') as {{ dbt.type_string() }}) as plan,
        billing_accounts.signed_up_on,
        completed.complete_from,
        completed.complete_until
    from known
    left join billing_accounts
        on known.provider = billing_accounts.provider
        and known.account = billing_accounts.account
    left join completed
        on known.provider = completed.provider
        and known.account = completed.account

)

select * from final
