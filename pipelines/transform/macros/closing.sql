{# The columns that identify a charge. #}
{% macro charge_identity() %}
    {{- return([
        'provider', 'billing_account', 'account', 'meter', 'sku_id', 'sku_price_id', 'tier_no', 'grant_id', 'charge_category',
        'charge_frequency', 'charge_description', 'charge_period_start', 'charge_period_end',
    ]) -}}
{% endmacro %}

{# The columns of a charge that are added up. #}
{% macro charge_measures() %}
    {{- return(['quantity', 'list_cost', 'contracted_cost', 'billed_cost', 'effective_cost']) -}}
{% endmacro %}


{# The columns of `int_usage__frozen` with their types. #}
{% macro frozen_columns() %}
    {{- return({
        'provider': dbt.type_string(),
        'account': dbt.type_string(),
        'meter': dbt.type_string(),
        'timespan': dbt.type_string(),
        'bucket_start': type_utc(),
        'bucket_end': type_utc(),
        'period_start': 'date',
        'period_end': 'date',
        'quantity': 'numeric(28, 9)',
        'event': dbt.type_string(),
        'closed_at': type_utc(),
        'invoice_id': dbt.type_string(),
    }) -}}
{% endmacro %}


{#
    A condition: usage lies in a closed period. Hours are compared as instants, with the bounds that the period had in UTC
    when it closed. A later change of the time zone moves no hour into or out of the period.
#}
{% macro is_in_period(usage, period) -%}
    {{ usage }}.provider = {{ period }}.provider
        and {{ usage }}.account = {{ period }}.account
        and {{ period }}.meter in ('', {{ usage }}.meter)
        and (
            (
                {{ usage }}.timespan = 'hour'
                and {{ usage }}.bucket_start >= {{ period }}.bucket_start
                and {{ usage }}.bucket_start < {{ period }}.bucket_end
            )
            or (
                {{ usage }}.timespan <> 'hour'
                and cast({{ usage }}.bucket_start as date) >= {{ period }}.period_start
                and cast({{ usage }}.bucket_start as date) < {{ period }}.period_end
            )
        )
{%- endmacro %}


{#
    A table or view that an earlier build left in the intermediate schema, or none. For relations that a model cannot `ref`:
    those that depend on it, and those of an earlier version. With the variable `as_of`, the macro looks in the schema of
    the regular build.
#}
{% macro built_before(name) %}
    {%- if not execute or not flags.INTROSPECT or graph.nodes is not defined -%}{{ return(none) }}{%- endif -%}
    {%- set node = graph.nodes.values() | selectattr('name', 'equalto', 'int_usage__frozen') | first -%}
    {{- return(adapter.get_relation(node.database, var('closing_log_schema') if as_of() else node.schema, name)) -}}
{% endmacro %}


{#
    The table `int_usage__frozen` as earlier builds left it; no rows before the first build. A `ref` would be a cycle: the
    models that compute charges read the table, and the charges decide which rows this build adds to it. A build as of an
    earlier moment reads the events logged before that moment: those with exactly that time are the build's own.
#}
{% macro frozen_before() %}
    {%- set relation = built_before('int_usage__frozen') -%}
    {%- if relation and as_of() -%}
        (select * from {{ relation }} where closed_at < {{ build_time() }}) as frozen_then
    {%- elif relation -%}
        {{ relation }}
    {%- else -%}
        (
            select
                {%- for column, type in frozen_columns().items() %}
                cast(null as {{ type }}) as {{ column }}{{ ',' if not loop.last }}
                {%- endfor %}
            limit 0
        ) as nothing_frozen
    {%- endif -%}
{% endmacro %}


{#
    The time of the events that this build logs, in UTC: that of the build, or just after the last event if the clock of an
    earlier build was ahead. The quantities at each closing follow from the order of the events.
#}
{% macro event_time() -%}
    {%- set relation = none if as_of() else built_before('int_usage__frozen') -%}
    {%- if relation -%}
        {%- set query = 'select cast(max(closed_at) as ' ~ dbt.type_string() ~ ') as last from ' ~ relation -%}
        {%- set text = run_query(query).columns[0].values()[0] -%}
        {%- set last = modules.datetime.datetime.fromisoformat(text | string) if text else none -%}
        {%- if last and last >= run_started_at.replace(tzinfo=none) -%}
            {{- return(time_literal(last + modules.datetime.timedelta(microseconds=1))) -}}
        {%- endif -%}
    {%- endif -%}
    {{- return(build_time()) -}}
{%- endmacro %}


{#
    A statement, for the first build with `int_usage__frozen`, that creates the table from `int_charges__closed`, the frozen
    charges of an earlier version. So no month closes again, and no correction changes. That version did not freeze usage
    without a price. The statement takes the current quantities of such usage from the tables of the last build.
#}
{% macro carry_over_closed_charges() %}
    {%- if as_of() -%}{{ return('') }}{%- endif -%}
    {%- set closed = built_before('int_charges__closed') -%}
    {%- set months, accounts, priced = built_before('int_billing__months'), built_before('int_accounts__completed'), built_before('int_usage__priced') -%}
    {%- if not (closed and months and accounts and priced) or built_before('int_usage__frozen') -%}{{ return('') }}{%- endif -%}
    {%- set frozen = closed.incorporate(path={'identifier': 'int_usage__frozen'}) -%}
    {%- do adapter.cache_added(frozen) -%}
    create table {{ frozen }}{{ ' using parquet' if target.type == 'spark' }} as

    with

    closed_months as (

        select distinct
            closed.provider,
            closed.billing_account,
            closed.account,
            closed.billing_month,
            cast({{ later('month', 1, 'closed.billing_month') }} as date) as next_month,
            coalesce(months.month_start, cast(closed.billing_month as {{ type_utc() }})) as month_start,
            coalesce(
                months.month_end, cast({{ later('month', 1, 'closed.billing_month') }} as {{ type_utc() }})
            ) as month_end
        from {{ closed }} as closed
        left join {{ months }} as months
            on closed.provider = months.provider
            and closed.billing_account = months.billing_account
            and closed.billing_month = months.billing_month

    ),

    months_of_accounts as (

        select
            provider,
            account,
            billing_month,
            next_month,
            month_start,
            month_end
        from closed_months
        where account <> ''

        union all

        select
            closed_months.provider,
            accounts.account,
            closed_months.billing_month,
            closed_months.next_month,
            closed_months.month_start,
            closed_months.month_end
        from closed_months
        inner join {{ accounts }} as accounts
            on closed_months.provider = accounts.provider
            and closed_months.billing_account = accounts.billing_account

    ),

    periods as (

        select
            provider,
            account,
            billing_month,
            next_month,
            min(month_start) as month_start,
            max(month_end) as month_end
        from months_of_accounts
        group by provider, account, billing_month, next_month

    ),

    charged as (

        select
            provider,
            account,
            meter,
            charge_period_start as bucket_start,
            charge_period_end as bucket_end,
            sum(quantity) as quantity
        from {{ closed }} as closed
        where charge_category = 'Usage' and account <> ''
        group by provider, account, meter, charge_period_start, charge_period_end

    ),

    present as (

        select
            priced.provider,
            priced.account,
            priced.meter,
            priced.bucket_start,
            priced.bucket_end,
            sum(priced.quantity) as quantity,
            sum(case when priced.is_priced then 0 else priced.quantity end) as unpriced_quantity
        from {{ priced }} as priced
        inner join periods
            on priced.provider = periods.provider
            and priced.account = periods.account
            and priced.billing_month = periods.billing_month
        where priced.scenario = 'computed'
        group by priced.provider, priced.account, priced.meter, priced.bucket_start, priced.bucket_end
        having sum(case when priced.is_priced then 0 else priced.quantity end) <> 0

    ),

    -- Usage that lost its price after closing is in both CTEs, with equal quantities. It counts once.
    usage as (

        select
            {%- for column in usage_columns() %}
            coalesce(charged.{{ column }}, present.{{ column }}) as {{ column }},
            {%- endfor %}
            case
                when charged.quantity = present.quantity then charged.quantity
                else coalesce(charged.quantity, 0) + coalesce(present.unpriced_quantity, 0)
            end as quantity
        from charged
        full outer join present
            on {{ is_same_usage('charged', 'present') }}

    ),

    events as (

        select
            provider,
            account,
            '' as meter,
            'period' as timespan,
            month_start as bucket_start,
            month_end as bucket_end,
            billing_month as period_start,
            next_month as period_end,
            0 as quantity
        from periods

        union all

        select
            provider,
            account,
            meter,
            {{ timespan_of_bucket() }} as timespan,
            bucket_start,
            bucket_end,
            cast(null as date) as period_start,
            cast(null as date) as period_end,
            quantity
        from usage

    )

    select
        {%- for column, type in frozen_columns().items() %}
        {%- if column == 'closed_at' %}
        {#- One second before this build, so that the restatements that it finds follow the closing. #}
        {{ later('second', -1, build_time()) }} as closed_at
        {%- elif column == 'event' %}
        cast('closed' as {{ type }}) as event
        {%- elif column == 'invoice_id' %}
        cast(null as {{ type }}) as {{ column }}
        {%- else %}
        cast({{ column }} as {{ type }}) as {{ column }}
        {%- endif %}{{ ',' if not loop.last }}
        {%- endfor %}
    from events
{% endmacro %}


{# The timespan of a bucket, from its length. #}
{% macro timespan_of_bucket() -%}
    case
        when bucket_end <= {{ later('hour', 1, 'bucket_start') }} then 'hour'
        when bucket_end <= {{ later('day', 1, 'bucket_start') }} then 'day'
        when bucket_end <= {{ later('day', 7, 'bucket_start') }} then 'week'
        else 'month'
    end
{%- endmacro %}


{# True if an invoice line has the unit of the computed quantity, singular or plural, or no unit. Fees match any unit. #}
{% macro is_same_unit(invoiced, computed) -%}
    (
            {{ invoiced }} is null
            or {{ computed }} = 'fee'
            or lower({{ invoiced }}) in (lower({{ computed }}), {{ dbt.concat(['lower(' ~ computed ~ ')', "'s'"]) }})
        )
{%- endmacro %}


{# The largest difference between an invoiced and a computed amount that still agrees. #}
{% macro reconciliation_tolerance(computed) -%}
    greatest(
            cast({{ var('reconciliation_tolerance') }} as numeric(28, 9)),
            cast({{ var('reconciliation_tolerance_fraction') }} as numeric(28, 9)) * abs(coalesce({{ computed }}, 0))
        )
{%- endmacro %}
