-- One row per provider and account.
-- Usage rows do not show when an account is complete: an hour without usage has no row, so a running day or month may have
-- no bucket that is marked as running, and no run may have requested the first days of a month. The log of fetches does: an
-- account is complete in the last span of adjoining windows. Days before a gap may be complete too, but they do not count,
-- because no total reaches across the gap. Only the table that is priced counts: if another table lags or never returned a
-- response, the account keeps its fees, credits and months.

with

spans as (

    select * from {{ ref('int_windows__merged') }}

),

parts as (

    select
        provider,
        account,
        part,
        max(span_start) as complete_from,
        max(complete_until) as complete_until
    from spans
    where {{ is_priced_table('provider', 'resource') }}
    group by provider, account, part

),

-- An account is complete only as far as its slowest partition, and never complete if a partition has no window at all.
accounts as (

    select
        provider,
        account,
        max(complete_from) as complete_from,
        min(complete_until) as complete_until
    from parts
    group by provider, account
    having count(*) = count(complete_until)

),

billing_accounts as (

    select * from {{ ref('stg_billing__accounts') }}

),

{{ owned('accounts') }},

final as (

    select
        cast(provider as {{ dbt.type_string() }}) as provider,
        billing_account,
        account,
        billing_timezone,
        complete_from,
        complete_until,
        {{ first_whole_date('complete_from', 'billing_timezone') }} as complete_from_billing_date,
        cast(complete_until as date) as complete_before_date,
        {{ billing_date('complete_until', 'billing_timezone') }} as complete_before_billing_date
    from owned

)

select * from final
