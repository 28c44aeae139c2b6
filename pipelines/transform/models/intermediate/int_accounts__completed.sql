-- One row per provider and account.
-- Usage rows do not show when an account is complete: an hour without usage has no row, so a running day or month may have
-- no bucket that is marked as running, and no run may have requested the first days of a month. The log of fetches does: an
-- account is complete in the last span of adjoining windows. Days before a gap may be complete too, but they do not count,
-- because no total reaches across the gap. If a provider's meters come from several tables, an account is complete only as
-- far as the slowest table.

{%- set providers = provider_names() %}

with

{% for provider in providers -%}
{{ provider }}_windows as (

    select
        '{{ provider }}' as provider,
        account,
        {{ dbt.concat(["resource", "' '", "coalesce(part, '')"]) }} as part,
        window_start,
        complete_until,
        fetched_at
    from {{ ref('stg_' ~ provider ~ '__fetched_windows') }}
    where {{ is_metered_window(provider) }}

),

{% endfor -%}

windows as (

    {% for provider in providers -%}
    select * from {{ provider }}_windows
    {%- if not loop.last %}
    union all
    {% endif -%}
    {%- endfor %}

),

-- A partition that no run requested in the week before the account's latest fetch is no longer configured, such as an
-- organisation or a table that runs no longer load. It would otherwise hold the account back for ever. A request without a
-- response has a row without a window.
recent as (

    select
        provider,
        account,
        {{ later('day', -7, 'max(fetched_at)') }} as since
    from windows
    group by provider, account

),

parts as (

    select
        windows.provider,
        windows.account,
        windows.part
    from windows
    inner join recent
        on windows.provider = recent.provider
        and windows.account = recent.account
        and windows.fetched_at >= recent.since
    group by windows.provider, windows.account, windows.part

),

preceded as (

    select
        windows.provider,
        windows.account,
        windows.part,
        windows.window_start,
        windows.complete_until,
        max(windows.complete_until) over (
            partition by windows.provider, windows.account, windows.part
            order by windows.window_start, windows.complete_until
            rows between unbounded preceding and 1 preceding
        ) as covered_until
    from windows
    inner join parts
        on windows.provider = parts.provider
        and windows.account = parts.account
        and windows.part = parts.part

),

-- The last window after a gap starts the last span. A partition without a gap has one span, from its first window.
spans as (

    select
        provider,
        account,
        part,
        max(case when covered_until is null or window_start > covered_until then window_start end) as complete_from,
        max(complete_until) as complete_until
    from preceded
    group by provider, account, part

),

-- An account is complete only as far as its slowest partition, and never complete if a partition has no window at all.
accounts as (

    select
        provider,
        account,
        max(complete_from) as complete_from,
        min(complete_until) as complete_until
    from spans
    group by provider, account
    having count(*) = count(complete_until)

),

billing_accounts as (

    select * from {{ ref('stg_billing__accounts') }}

),

owned as (

    select
        accounts.*,
        coalesce(nullif(billing_accounts.billing_account, ''), accounts.account) as billing_account,
        {{ billing_timezone('accounts.provider', 'billing_accounts.billing_timezone') }} as billing_timezone
    from accounts
    left join billing_accounts
        on accounts.provider = billing_accounts.provider
        and accounts.account = billing_accounts.account

),

final as (

    select
        cast(provider as {{ dbt.type_string() }}) as provider,
        cast(billing_account as {{ dbt.type_string() }}) as billing_account,
        account,
        cast(billing_timezone as {{ dbt.type_string() }}) as billing_timezone,
        complete_from,
        complete_until,
        {{ billing_date('complete_from', 'billing_timezone') }} as complete_from_billing_date,
        cast(complete_until as date) as complete_before_date,
        {{ billing_date('complete_until', 'billing_timezone') }} as complete_before_billing_date
    from owned

)

select * from final
