-- One row per provider, billing account, date and unit of a balance that the vendor states.
-- The vendor's balance is a snapshot taken within the day. So its used amount should lie between our usage before the day and
-- our usage including it. The difference is how far it lies outside this range.
-- Grants belong to the billing account, so they are compared only if the vendor states a balance for all of its accounts.
-- Longer than 200 lines: it compares the balances of all providers with our usage and our grants.

{%- set providers = providers_with('balance_model') %}

with

{% for provider in providers -%}
{{ provider }} as (

    select * from {{ ref(provider_setting(provider, 'balance_model')) }}

),

{% endfor -%}

metered_usage as (

    select * from {{ ref('int_usage__metered') }}

),

accounts as (

    select * from {{ ref('int_accounts__completed') }}

),

billing_accounts as (

    select * from {{ ref('stg_billing__accounts') }}

),

credit_balance_daily as (

    select * from {{ ref('credit_balance_daily') }}

),

stated as (

    {% for provider in providers -%}
    select
        '{{ provider }}' as provider,
        account,
        date,
        unit,
        used,
        quota,
        remaining,
        period_start
    from {{ provider }}
    {%- if not loop.last %}

    union all

    {% endif -%}
    {%- else -%}
    select
        cast(null as {{ dbt.type_string() }}) as provider,
        cast(null as {{ dbt.type_string() }}) as account,
        cast(null as date) as date,
        cast(null as {{ dbt.type_string() }}) as unit,
        cast(null as numeric(28, 9)) as used,
        cast(null as numeric(28, 9)) as quota,
        cast(null as numeric(28, 9)) as remaining,
        cast(null as date) as period_start
    limit 0
    {%- endfor %}

),

daily as (

    select
        provider,
        account,
        unit,
        cast(bucket_start as date) as date,
        sum(quantity) as quantity
    from metered_usage
    where timespan in ('hour', 'day')
    group by provider, account, unit, cast(bucket_start as date)

),

computed as (

    select
        stated.provider,
        stated.account,
        stated.date,
        stated.unit,
        sum(daily.quantity) as used,
        sum(case when daily.date < stated.date then daily.quantity end) as used_before
    from stated
    inner join daily
        on stated.provider = daily.provider
        and stated.account = daily.account
        and stated.unit = daily.unit
        and daily.date >= stated.period_start
        and daily.date <= stated.date
    group by stated.provider, stated.account, stated.date, stated.unit

),

{{ owned('stated') }},

compared as (

    select
        owned.provider,
        owned.billing_account,
        owned.date,
        owned.unit,
        owned.period_start,
        owned.used as vendor_used,
        owned.quota as vendor_limit,
        owned.remaining as vendor_remaining,
        case when owned.period_start is not null then coalesce(computed.used, 0) end as used,
        case when owned.period_start is not null then coalesce(computed.used_before, 0) end as used_before,
        case
            when
                cast(owned.period_start as {{ type_utc() }}) >= accounts.complete_from
                and owned.date <= accounts.complete_before_date
                then 1
            else 0
        end as is_loaded
    from owned
    left join computed
        on owned.provider = computed.provider
        and owned.account = computed.account
        and owned.date = computed.date
        and owned.unit = computed.unit
    left join accounts
        on owned.provider = accounts.provider
        and owned.account = accounts.account

),

-- If one of the accounts lacks an amount, the sum over all of them is unknown.
summed as (

    select
        provider,
        billing_account,
        date,
        unit,
        min(period_start) as period_start,
        sum(vendor_used) as vendor_used,
        case when count(*) = count(vendor_limit) then sum(vendor_limit) end as vendor_limit,
        case when count(*) = count(vendor_remaining) then sum(vendor_remaining) end as vendor_remaining,
        case when count(*) = count(used) then sum(used) end as used,
        case when count(*) = count(used) then sum(least(used, used_before)) end as used_low,
        case when count(*) = count(used) then sum(greatest(used, used_before)) end as used_high,
        min(is_loaded) as is_loaded,
        count(*) as stated_accounts
    from compared
    group by provider, billing_account, date, unit

),

account_counts as (

    select
        provider,
        billing_account,
        count(*) as accounts
    from accounts
    group by provider, billing_account

),

measured as (

    select
        summed.*,
        case
            when summed.vendor_used > summed.used_high then summed.vendor_used - summed.used_high
            when summed.vendor_used < summed.used_low then summed.vendor_used - summed.used_low
            when summed.used is not null then 0
        end as difference,
        summed.stated_accounts >= coalesce(account_counts.accounts, 0) as is_stated_for_all
    from summed
    left join account_counts
        on summed.provider = account_counts.provider
        and summed.billing_account = account_counts.billing_account

),

final as (

    select
        cast(measured.provider as {{ dbt.type_string() }}) as provider,
        cast(measured.billing_account as {{ dbt.type_string() }}) as billing_account,
        measured.date,
        cast(measured.unit as {{ dbt.type_string() }}) as unit,
        measured.period_start,
        cast(measured.vendor_used as numeric(28, 9)) as vendor_used,
        cast(measured.vendor_limit as numeric(28, 9)) as vendor_limit,
        cast(measured.vendor_remaining as numeric(28, 9)) as vendor_remaining,
        cast(measured.used as numeric(28, 9)) as computed_used,
        credit_balance_daily.granted as computed_limit,
        credit_balance_daily.remaining as computed_remaining,
        cast(measured.difference as numeric(28, 9)) as difference,
        cast(case
            when measured.difference is null then 'not comparable'
            when measured.is_loaded = 0 then 'not loaded whole'
            when measured.difference = 0 then 'matched'
            when
                abs(measured.difference)
                <= cast(abs(measured.used) * {{ var('reconciliation_tolerance_fraction') }} as numeric(28, 9))
                then 'within tolerance'
            when measured.difference > 0 then 'over'
            else 'under'
        end as {{ dbt.type_string() }}) as status
    from measured
    left join credit_balance_daily
        on measured.provider = credit_balance_daily.provider
        and measured.billing_account = credit_balance_daily.billing_account
        and measured.date = credit_balance_daily.date
        and measured.unit = credit_balance_daily.unit
        and measured.is_stated_for_all

)

select * from final
