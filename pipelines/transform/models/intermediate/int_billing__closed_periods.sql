-- One row per period within a month, account and meter that earlier builds closed. The meter is empty if the period is
-- closed for all meters. A period belongs to the current billing account of its account.

with

events as (

    select * from {{ ref('int_usage__frozen_before') }}

),

spans as (

    select * from {{ ref('int_windows__merged') }}

),

billing_accounts as (

    select * from {{ ref('stg_billing__accounts') }}

),

-- Accounts that are no longer loaded, such as those of a disabled provider, have no charges.
loaded as (

    select distinct
        provider,
        account
    from spans

),

final as (

    select
        events.provider,
        cast(coalesce(billing_accounts.billing_account, events.account) as {{ dbt.type_string() }})
            as billing_account,
        events.account,
        events.meter,
        events.bucket_start,
        events.bucket_end,
        events.period_start,
        events.period_end,
        events.invoice_id,
        events.closed_at
    from events
    inner join loaded
        on events.provider = loaded.provider
        and events.account = loaded.account
    left join billing_accounts
        on events.provider = billing_accounts.provider
        and events.account = billing_accounts.account
    where events.timespan = 'period'

)

select * from final
