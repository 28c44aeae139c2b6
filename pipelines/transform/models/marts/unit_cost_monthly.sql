-- One row per business metric, scope, month and currency: each loaded month in which the scope has cost or the metric a value.

{%- set scope = ['metric', 'scope', 'scope_name', 'provider', 'account', 'team', 'cost_centre'] %}
{%- set key = ['metric', 'scope_name', 'month'] %}

with

business_metrics as (

    select * from {{ ref('stg_billing__business_metrics') }}

),

costs as (

    select * from {{ ref('int_cost__by_scope') }}
    where has_cost

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

cost_months as (

    select
        scopes.metric,
        scopes.scope_name,
        costs.month,
        costs.currency,
        cast(sum(costs.effective_cost) as numeric(28, 9)) as effective_cost,
        {{- aggregate_reporting() }},
        min(case when costs.is_complete then 1 else 0 end) = 1 as is_complete
    from scopes
    inner join costs
        on scopes.scope_name = costs.scope_name
    group by scopes.metric, scopes.scope_name, costs.month, costs.currency

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
