-- One row per business metric, scope, month and currency: each loaded month in which the scope has cost or the metric a value.

{%- set scope = ['metric', 'scope', 'scope_name', 'provider', 'account', 'team', 'cost_centre'] %}
{%- set key = ['metric', 'scope_name', 'month'] %}

with

business_metrics as (

    select * from {{ ref('stg_billing__business_metrics') }}

),

cost_monthly as (

    select * from {{ ref('cost_monthly') }}

),

cost_by_owner_daily as (

    select * from {{ ref('cost_by_owner_daily') }}

),

loaded as (

    select max(billing_month) as last_month from {{ ref('int_billing__months') }}

),

scopes as (

    select distinct {{ scope | join(', ') }} from business_metrics

),

metric_months as (

    select
        metric,
        scope_name,
        cast({{ dbt.date_trunc('month', 'date') }} as date) as month,
        sum(metric_value) as metric_value
    from business_metrics
    inner join loaded
        on business_metrics.date < {{ later('month', 1, 'loaded.last_month') }}
    group by metric, scope_name, cast({{ dbt.date_trunc('month', 'date') }} as date)

),

-- Charges to a billing account as a whole count for the account of the same name, as in `budget_status_monthly`.
costs as (

    select
        scopes.metric,
        scopes.scope_name,
        costs.billing_month as month,
        costs.currency,
        costs.effective_cost,
        costs.reporting_currency,
        costs.reporting_cost,
        costs.reporting_effective_cost,
        costs.fx_rate,
        costs.fx_date,
        costs.is_complete
    from scopes
    inner join cost_monthly as costs
        on scopes.scope in ('total', 'provider', 'account')
        and (scopes.provider is null or scopes.provider = costs.provider)
        and (scopes.account is null or scopes.account = coalesce(nullif(costs.account, ''), costs.billing_account))

    union all

    select
        scopes.metric,
        scopes.scope_name,
        cast({{ dbt.date_trunc('month', 'costs.date') }} as date) as month,
        costs.currency,
        costs.effective_cost,
        costs.reporting_currency,
        costs.reporting_cost,
        costs.reporting_effective_cost,
        costs.fx_rate,
        costs.fx_date,
        costs.is_complete
    from scopes
    inner join cost_by_owner_daily as costs
        on scopes.scope = 'owner'
        and (scopes.team is null or scopes.team = costs.team)
        and (scopes.cost_centre is null or scopes.cost_centre = costs.cost_centre)

),

cost_months as (

    select
        {{ key | join(', ') }},
        currency,
        cast(sum(effective_cost) as numeric(28, 9)) as effective_cost,
        {{- aggregate_reporting() }},
        min(case when is_complete then 1 else 0 end) = 1 as is_complete
    from costs
    group by {{ key | join(', ') }}, currency

),

months as (

    select {{ key | join(', ') }} from cost_months
    union distinct
    select {{ key | join(', ') }} from metric_months

),

final as (

    select
        {% for column in scope -%}
        cast(scopes.{{ column }} as {{ dbt.type_string() }}) as {{ column }},
        {% endfor -%}
        months.month,
        cast(metric_months.metric_value as numeric(28, 9)) as metric_value,
        cast(cost_months.currency as {{ dbt.type_string() }}) as currency,
        cast(coalesce(cost_months.effective_cost, 0) as numeric(28, 9)) as effective_cost,
        {{ divided('cost_months.effective_cost', 'metric_months.metric_value') }} as unit_cost,
        cast(cost_months.reporting_currency as {{ dbt.type_string() }}) as reporting_currency,
        cast(cost_months.reporting_effective_cost as numeric(28, 9)) as reporting_effective_cost,
        {{ divided('cost_months.reporting_effective_cost', 'metric_months.metric_value') }} as reporting_unit_cost,
        coalesce(cost_months.is_complete, false) as is_complete
    from months
    inner join scopes
        on months.metric = scopes.metric
        and months.scope_name = scopes.scope_name
    left join metric_months
        on {% for column in key %}months.{{ column }} = metric_months.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}
    left join cost_months
        on {% for column in key %}months.{{ column }} = cost_months.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}

)

select * from final
