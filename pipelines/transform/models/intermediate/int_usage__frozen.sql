-- One row per event of closing: an append-only log of metered quantities, as the vendor returned them. This is the only
-- table that cannot be rebuilt: the raw tables hold the vendor's current quantities, not those that it billed. dbt's
-- --full-refresh does not touch it. `meterhouse reopen` appends to it, and deletes nothing.
--
-- Events:
-- `closed`, `timespan = 'period'`: an issued invoice line closed a period of an account; `meter` is empty for all meters.
-- `closed`, other timespans: usage in a closed period, with its quantity at closing.
-- `closed`, with `corrected_on`: usage whose correction, billed on that day, is covered by an issued line.
-- `differs`, `timespan = 'period'`: a build first saw an issued invoice that differs from the computed usage of the period.
-- `restated`: a new quantity of closed usage, logged by the first build that saw it.
-- `reopened`: a period that was opened again.
--
-- Usage without a price is frozen, too.
-- A build with the variable `as_of` keeps no log between builds: it copies the regular log up to the moment, and adds the
-- events that it computes itself.

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

periods as (

    select * from {{ ref('int_billing__closed_periods') }}

),

restated as (

    select * from {{ ref('int_usage__restated') }}
    where corrected_on is null

),

scenarios as (

    select * from {{ ref('int_billing__scenarios') }}
    where corrected_on is null and scenario <> 'computed' and forecast is null

),

closing_usage as (

    select
        metered_usage.provider,
        metered_usage.account,
        metered_usage.meter,
        metered_usage.timespan,
        metered_usage.bucket_start,
        metered_usage.bucket_end,
        max(metered_usage.quantity) as quantity,
        min(closing.invoice_id) as invoice_id
    from metered_usage
    inner join closing
        on metered_usage.provider = closing.provider
        and metered_usage.account = closing.account
        and closing.meter in ('', metered_usage.meter)
        and metered_usage.billing_date >= closing.period_start
        and metered_usage.billing_date < closing.period_end
    where metered_usage.quantity <> 0
    group by {% for column in key %}metered_usage.{{ column }}{{ ', ' if not loop.last }}{% endfor %}

),

closed_usage as (

    select distinct
        {% for column in key %}closing_usage.{{ column }},
        {% endfor -%}
        true as is_closed
    from closing_usage
    inner join periods
        on {{ is_in_period('closing_usage', 'periods') }}

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
        min(invoice_id) as invoice_id,
        cast(null as date) as corrected_on
    from looked_at
    group by provider, account, meter, bucket_start, bucket_end, period_start, period_end, event

    union all

    select
        {% for column in key %}closing_usage.{{ column }},
        {% endfor -%}
        cast(null as date) as period_start,
        cast(null as date) as period_end,
        closing_usage.quantity,
        'closed' as event,
        closing_usage.invoice_id,
        cast(null as date) as corrected_on
    from closing_usage
    left join closed_usage
        on {{ is_same_usage('closing_usage', 'closed_usage') }}
    where closed_usage.is_closed is null

    union all

    -- A correction closes together with the day on which it is billed.
    select
        {% for column in key %}restated.{{ column }},
        {% endfor -%}
        cast(null as date) as period_start,
        cast(null as date) as period_end,
        restated.quantity_after as quantity,
        'closed' as event,
        min(closing.invoice_id) as invoice_id,
        scenarios.subtracts_on as corrected_on
    from restated
    inner join scenarios
        on restated.provider = scenarios.provider
        and restated.billing_account = scenarios.billing_account
        and restated.billing_month = scenarios.billing_month
    inner join closing
        on restated.provider = closing.provider
        and restated.billing_account = closing.billing_account
        and closing.meter in ('', restated.meter)
        and scenarios.subtracts_on >= closing.period_start
        and scenarios.subtracts_on < closing.period_end
    group by
        {% for column in key %}restated.{{ column }}, {% endfor %}restated.quantity_after, scenarios.subtracts_on

    union all

    select
        {{ key | join(',\n        ') }},
        cast(null as date) as period_start,
        cast(null as date) as period_end,
        quantity_after as quantity,
        'restated' as event,
        cast(null as {{ dbt.type_string() }}) as invoice_id,
        cast(null as date) as corrected_on
    from restated
    where not is_logged

),

final as (

    select
        {%- for column, type in frozen_columns().items() %}
        {%- if column == 'closed_at' %}
        {{ build_time() }} as closed_at
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
