-- One row per period within a month, account, meter and time at which an earlier build closed it. The meter is empty if the
-- period is closed for all meters. A period belongs to the current billing account of its account.
-- `reopened_at` is null unless the period was reopened.

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

{{ owned('events') }},

final as (

    select
        owned.provider,
        owned.billing_account,
        owned.account,
        owned.meter,
        owned.bucket_start,
        owned.bucket_end,
        owned.period_start,
        owned.period_end,
        owned.invoice_id,
        owned.closed_at,
        owned.reopened_at
    from owned
    inner join loaded
        on owned.provider = loaded.provider
        and owned.account = loaded.account
    where owned.timespan = 'period' and owned.event = 'closed'

)

select * from final
