-- One row per event of closing: an append-only log of metered quantities, as the vendor returned them. This is the only
-- table that cannot be rebuilt: the raw tables hold the vendor's current quantities, not those that it billed. dbt's
-- --full-refresh does not touch it. `meterhouse reopen` appends to it, and deletes nothing.
--
-- Events:
-- `closed`, `timespan = 'period'`: an issued invoice line closed a period of an account; `meter` is empty for all meters.
-- `closed`, other timespans: usage in a closed period, with its quantity at closing.
-- `open`, `timespan = 'period'`: days of a month, of which the open ones are frozen, too, because a period that closed depends
--     on them: credits are drawn down and tiers fill in the order of the days.
-- `open`, other timespans: usage of these days that is not in a closed period, with its quantity at that closing.
-- `differs`, `timespan = 'period'`: a build first saw an issued invoice that differs from the computed usage of the period.
-- `restated`: a new quantity of frozen usage, logged by the first build that saw it. So the log also has the quantity at
--     each later closing.
-- `reopened`: the command `reopen` reopened a period.
--
-- Usage without a price is frozen, too.
-- A build with the variable `as_of` keeps no log between builds: it copies the regular log up to the moment, and adds the
-- events that it computes itself.
-- Longer than 200 lines: usage of closed and of open days is frozen in the same way.

{{ config(
    materialized='table' if as_of() else 'incremental',
    incremental_strategy='append',
    full_refresh=false,
    on_schema_change='append_new_columns'
) }}

{%- set key = ['provider', 'account', 'meter', 'timespan', 'bucket_start', 'bucket_end'] %}

with

metered_usage as (

    select * from {{ ref('int_usage__metered') }}

),

looked_at as (

    select * from {{ ref('int_billing__closing_periods') }}

),

closing as (

    select * from looked_at
    where event = 'closed'

),

frozen_before as (

    select * from {{ ref('int_usage__frozen_before') }}
    where timespan = 'period' and event in ('closed', 'open')

),

months as (

    select * from {{ ref('int_billing__months') }}

),

accounts as (

    select * from {{ ref('int_accounts__completed') }}

),

granted as (

    select * from {{ ref('int_credits__granted') }}

),

restated as (

    select * from {{ ref('int_usage__restated') }}
    where not is_logged

),

with_credits as (

    select distinct
        provider,
        billing_account,
        true as has_credits
    from granted

),

-- Without credits, a period depends on its own month only: tiers and minimums start anew with each month. Days that are loaded
-- later are not restated: they count as soon as they are loaded.
depended_on as (

    select
        closing.provider,
        accounts.account,
        accounts.billing_timezone,
        greatest(months.billing_month, accounts.complete_from_billing_date) as period_start,
        max(least(closing.bucket_end, months.month_end)) as bucket_end,
        max(least(closing.period_end, months.next_month)) as period_end,
        min(closing.invoice_id) as invoice_id
    from closing
    inner join accounts
        on closing.provider = accounts.provider
        and closing.billing_account = accounts.billing_account
    inner join months
        on closing.provider = months.provider
        and closing.billing_account = months.billing_account
        and closing.period_end > months.billing_month
        and accounts.complete_from_billing_date < months.next_month
    left join with_credits
        on closing.provider = with_credits.provider
        and closing.billing_account = with_credits.billing_account
    where with_credits.has_credits or closing.period_start < months.next_month
    group by
        closing.provider, accounts.account, accounts.billing_timezone, accounts.complete_from_billing_date, months.billing_month

),

whole as (

    select
        provider,
        account,
        period_start,
        period_end
    from closing
    where meter = ''

    union all

    select
        provider,
        account,
        period_start,
        period_end
    from frozen_before
    where meter = ''

),

opened as (

    select
        depended_on.*,
        {{ start_of_date('depended_on.period_start', 'depended_on.billing_timezone') }} as bucket_start
    from depended_on
    left join whole
        on depended_on.provider = whole.provider
        and depended_on.account = whole.account
        and depended_on.period_start >= whole.period_start
        and depended_on.period_end <= whole.period_end
    where whole.account is null and depended_on.period_start < depended_on.period_end

),

freezing as (

    select
        provider,
        account,
        meter,
        period_start,
        period_end,
        invoice_id,
        0 as is_open
    from closing

    union all

    select
        provider,
        account,
        '' as meter,
        period_start,
        period_end,
        invoice_id,
        1 as is_open
    from opened

),

freezing_usage as (

    select
        metered_usage.provider,
        metered_usage.account,
        metered_usage.meter,
        metered_usage.timespan,
        metered_usage.bucket_start,
        metered_usage.bucket_end,
        max(metered_usage.quantity) as quantity,
        min(freezing.is_open) as is_open,
        min(freezing.invoice_id) as invoice_id
    from metered_usage
    inner join freezing
        on metered_usage.provider = freezing.provider
        and metered_usage.account = freezing.account
        and freezing.meter in ('', metered_usage.meter)
        and metered_usage.billing_date >= freezing.period_start
        and metered_usage.billing_date < freezing.period_end
    where metered_usage.quantity <> 0
    group by {% for column in key %}metered_usage.{{ column }}{{ ', ' if not loop.last }}{% endfor %}

),

frozen_usage as (

    select distinct
        {% for column in key %}freezing_usage.{{ column }},
        {% endfor -%}
        true as is_frozen
    from freezing_usage
    inner join frozen_before
        on {{ is_in_period('freezing_usage', 'frozen_before') }}

),

events as (

    select
        provider,
        account,
        meter,
        'period' as timespan,
        bucket_start,
        bucket_end,
        period_start,
        period_end,
        0 as quantity,
        event,
        min(invoice_id) as invoice_id
    from looked_at
    group by provider, account, meter, bucket_start, bucket_end, period_start, period_end, event

    union all

    select
        provider,
        account,
        '' as meter,
        'period' as timespan,
        bucket_start,
        bucket_end,
        period_start,
        period_end,
        0 as quantity,
        'open' as event,
        invoice_id
    from opened

    union all

    select
        {% for column in key %}freezing_usage.{{ column }},
        {% endfor -%}
        cast(null as date) as period_start,
        cast(null as date) as period_end,
        freezing_usage.quantity,
        case when freezing_usage.is_open = 1 then 'open' else 'closed' end as event,
        freezing_usage.invoice_id
    from freezing_usage
    left join frozen_usage
        on {{ is_same_usage('freezing_usage', 'frozen_usage') }}
    where frozen_usage.is_frozen is null

    union all

    select
        {{ key | join(',\n        ') }},
        cast(null as date) as period_start,
        cast(null as date) as period_end,
        quantity_after as quantity,
        'restated' as event,
        cast(null as {{ dbt.type_string() }}) as invoice_id
    from restated

),

final as (

    select
        {%- for column, type in frozen_columns().items() %}
        {%- if column == 'closed_at' %}
        {{ event_time() }} as closed_at
        {%- else %}
        cast({{ column }} as {{ type }}) as {{ column }}
        {%- endif %}{{ ',' if not loop.last }}
        {%- endfor %}
    from events
    {%- if as_of() %}
    union all
    select {{ frozen_columns().keys() | join(', ') }} from {{ frozen_before() }}
    {%- endif %}

)

select * from final
