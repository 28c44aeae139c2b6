-- One row per provider and account that was loaded or is in your accounts file.

with

windows as (

    select * from {{ ref('stg_providers__fetched_windows') }}

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

{{ owned('known', also=['plan', 'signed_up_on']) }},

final as (

    select
        cast(owned.provider as {{ dbt.type_string() }}) as provider,
        cast(owned.account as {{ dbt.type_string() }}) as account,
        owned.billing_account,
        owned.billing_timezone,
        cast(nullif(owned.plan, '') as {{ dbt.type_string() }}) as plan,
        owned.signed_up_on,
        completed.complete_from,
        completed.complete_until
    from owned
    left join completed
        on owned.provider = completed.provider
        and owned.account = completed.account

)

select * from final
