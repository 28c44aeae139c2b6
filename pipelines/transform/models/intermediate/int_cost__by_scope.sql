-- One row per scope of a budget or business metric, month, provider, account and currency: the cost that counts for the scope.
-- The month of a total, a provider and an account is the billing month; that of an owner and of values of a dimension, the
-- calendar month in UTC. Charges to a billing account as a whole count for the account of the same name.
-- `remaining_cost` is what the forecast of the month adds to the cost so far. It is converted at the rate that applies to
-- the last day of the month. Values of a dimension share it in proportion to their cost of the last 28 complete days. Usage
-- whose cost is unknown has no currency.
-- Longer than 200 lines: each kind of scope takes its cost and its forecast from a different mart.

{%- set month_of_date = 'cast(' ~ dbt.date_trunc('month', 'date') ~ ' as date)' %}
{%- set names_of = {'account': [], 'owner': ['team', 'cost_centre'], 'dimension': ['dimension', 'value']} %}

with

budgets as (

    select * from {{ ref('stg_billing__budgets') }}

),

business_metrics as (

    select * from {{ ref('stg_billing__business_metrics') }}

),

cost_monthly as (

    select * from {{ ref('cost_monthly') }}

),

cost_by_owner_daily as (

    select * from {{ ref('cost_by_owner_daily') }}

),

usage_by_dimension as (

    select * from {{ ref('usage_by_dimension') }}

),

forecasts as (

    select * from {{ ref('cost_forecast_monthly') }}

),

owner_forecasts as (

    select * from {{ ref('cost_forecast_by_owner_monthly') }}

),

fx_rates as (

    select * from {{ ref('stg_billing__fx_rates') }}
    where superseded_at is null

),

scopes as (

    select
        budget as scope_name,
        case when scope in ('owner', 'dimension') then scope else 'account' end as kind,
        provider,
        account,
        dimension,
        value,
        is_pattern,
        team,
        cost_centre
    from budgets

    union distinct

    select
        scope_name,
        case when scope = 'owner' then scope else 'account' end as kind,
        provider,
        account,
        cast(null as {{ dbt.type_string() }}) as dimension,
        cast(null as {{ dbt.type_string() }}) as value,
        false as is_pattern,
        team,
        cost_centre
    from business_metrics

),

-- All charges in one currency on a day of an account have the same rate, unless only some of its meters are closed.
daily_rates as (

    select
        provider,
        account,
        date,
        currency,
        {{- aggregate_reporting() }}
    from cost_by_owner_daily
    group by provider, account, date, currency

),

dimension_costs as (

    select
        days.provider,
        days.account,
        days.account as billing_account,
        days.dimension,
        days.value,
        days.date,
        days.currency,
        days.allocated_cost as billed_cost,
        days.allocated_effective_cost as effective_cost,
        true as is_complete,
        daily_rates.reporting_currency,
        -- Without cost, no rate is needed.
        {%- for cost, column in [
            ('allocated_cost', 'reporting_cost'), ('allocated_effective_cost', 'reporting_effective_cost'),
        ] %}
        cast(
            case when days.{{ cost }} = 0 then 0 else days.{{ cost }} * daily_rates.fx_rate end as numeric(28, 9)
        ) as {{ column }},
        {%- endfor %}
        daily_rates.fx_rate,
        daily_rates.fx_date
    from usage_by_dimension as days
    left join daily_rates
        on days.provider = daily_rates.provider
        and days.account = daily_rates.account
        and days.date = daily_rates.date
        and days.currency = daily_rates.currency
    where days.dimension in (select scopes.dimension from scopes)

),

windows as (

    select
        provider,
        account,
        cast({{ later('day', -28, 'complete_before_date') }} as date) as window_start,
        complete_before_date as window_end
    from {{ ref('int_accounts__completed') }}

),

{{ shared_forecasts('dimension_costs', ['value'], within=['dimension']) }},

costs as (

    {% for kind, relation, is_forecast in [
        ('account', 'cost_monthly', false), ('account', 'forecasts', true),
        ('owner', 'cost_by_owner_daily', false), ('owner', 'owner_forecasts', true),
        ('dimension', 'dimension_costs', false), ('dimension', 'shared_forecasts', true),
    ] -%}
    select
        '{{ kind }}' as kind,
        provider,
        coalesce(nullif(account, ''), billing_account) as account,
        {% for name in ['team', 'cost_centre', 'dimension', 'value'] -%}
        cast({{ name if name in names_of[kind] else 'null' }} as {{ dbt.type_string() }}) as {{ name }},
        {% endfor -%}
        {{ 'billing_month' if kind == 'account' or is_forecast else month_of_date }} as month,
        currency,
        {%- if is_forecast %}
        0 as billed_cost,
        0 as effective_cost,
        coalesce(forecast - cost_to_date, 0) as remaining_cost,
        coalesce(effective_forecast - effective_cost_to_date, 0) as effective_remaining_cost,
        case when forecast is null then 0 else 1 end as has_forecast,
        1 as is_complete
        {%- for column, type in reporting_columns().items() %},
        cast(null as {{ type }}) as {{ column }}
        {%- endfor %}
        {%- else %}
        billed_cost,
        effective_cost,
        0 as remaining_cost,
        0 as effective_remaining_cost,
        cast(null as integer) as has_forecast,
        case when is_complete then 1 else 0 end as is_complete,
        {{- select_reporting(relation) }}
        {%- endif %}
    from {{ relation }}
    {%- if not loop.last %}

    union all

    {% endif -%}
    {%- endfor %}

),

summed as (

    select
        scopes.scope_name,
        costs.month,
        costs.provider,
        costs.account,
        costs.currency,
        sum(costs.billed_cost) as billed_cost,
        sum(costs.effective_cost) as effective_cost,
        sum(costs.remaining_cost) as remaining_cost,
        sum(costs.effective_remaining_cost) as effective_remaining_cost,
        min(costs.has_forecast) as has_forecast,
        count(costs.has_forecast) < count(*) as has_cost,
        min(costs.is_complete) = 1 as is_complete,
        {{- aggregate_reporting('case when has_forecast is null then 1 end') }}
    from scopes
    inner join costs
        on scopes.kind = costs.kind
        and (scopes.provider is null or scopes.provider = costs.provider)
        and (scopes.account is null or scopes.account = costs.account)
        and (scopes.team is null or scopes.team = costs.team)
        and (scopes.cost_centre is null or scopes.cost_centre = costs.cost_centre)
        and (scopes.dimension is null or scopes.dimension = costs.dimension)
        and (scopes.value is null or {{ names_value('scopes', 'costs.value') }})
    group by scopes.scope_name, costs.month, costs.provider, costs.account, costs.currency

),

open_months as (

    select distinct
        billing_month as month,
        cast({{ later('month', 1, 'billing_month') }} as date) as next_month
    from forecasts
    where not is_final

),

last_rates as (

    select
        open_months.month,
        fx_rates.currency,
        fx_rates.rate,
        row_number() over (partition by open_months.month, fx_rates.currency order by fx_rates.date desc) as position
    from open_months
    inner join fx_rates
        on open_months.next_month > fx_rates.date
        and open_months.next_month <= cast({{ later('day', var('fx_rate_days'), 'fx_rates.date') }} as date)

),

final as (

    select
        summed.*
        {%- for cost in ['remaining_cost', 'effective_remaining_cost'] %},
        cast(
            case
                when summed.{{ cost }} = 0 or summed.currency = '{{ reporting_currency() }}' then summed.{{ cost }}
                else summed.{{ cost }} * last_rates.rate
            end as numeric(28, 9)
        ) as reporting_{{ cost }}
        {%- endfor %}
    from summed
    left join last_rates
        on summed.month = last_rates.month
        and summed.currency = last_rates.currency
        and last_rates.position = 1

)

select * from final
