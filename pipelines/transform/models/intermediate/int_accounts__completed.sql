-- One row per provider and account.
-- An hour without usage has no row, so that no bucket of a running day or month need be marked as running, and the first
-- days of a month may never have been asked for. From when to when an account is complete is therefore read from what was
-- fetched, not from what was found: the last span of fetched windows that adjoin. What lies before a gap may be complete,
-- too, but nothing after it adds up with it, so that it is not called so.
-- Where a provider's meters come from several tables, all of them count: an account is no further than the slowest.

{%- set tables = metered_tables() %}
{%- set providers = tables | map(attribute='provider') | unique | list %}

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
    where
        {% for table in tables if table.provider == provider -%}
        {{ 'or ' if not loop.first }}(resource = '{{ table.resource }}'
        {%- if table.parts %} and part like '{{ table.parts }}'{% endif %})
        {% endfor %}

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

-- A part that was not asked for in the week before the account's latest fetch, such as one organisation or a table that is
-- not run any more, is no longer configured: it would hold the account back for ever. One that was asked for in vain has a
-- row without a window.
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

-- The last window that began after a gap begins the last span; a part without a gap has one span, from its first window.
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

-- An account is no further than its slowest part; and with one that has never answered it is complete at no time.
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
