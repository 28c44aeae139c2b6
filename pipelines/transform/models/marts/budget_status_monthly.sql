-- One row per budget and loaded month of its validity, from the first month with data of its provider on.
-- A budget counts the cost in its currency. In the reporting currency, it also counts the converted cost of other currencies.
-- Longer than 200 lines: each kind of scope has its own usage without cost.

with

budgets as (

    select * from {{ ref('stg_billing__budgets') }}

),

billing_months as (

    select * from {{ ref('int_billing__months') }}

),

costs as (

    select * from {{ ref('int_cost__by_scope') }}

),

cost_monthly as (

    select * from {{ ref('cost_monthly') }}

),

usage_by_dimension as (

    select * from {{ ref('usage_by_dimension') }}

),

unpriced_usage as (

    select * from {{ ref('unpriced_usage') }}

),

loaded_months as (

    select distinct billing_month as month from billing_months

),

first_months as (

    select
        provider,
        min(billing_month) as first_month
    from billing_months
    group by provider

),

spans as (

    select
        budgets.budget_row,
        min(first_months.first_month) as first_month
    from budgets
    inner join first_months
        on budgets.provider is null
        or budgets.provider = first_months.provider
    group by budgets.budget_row

),

months as (

    select
        budgets.*,
        loaded_months.month
    from budgets
    inner join spans
        on budgets.budget_row = spans.budget_row
    inner join loaded_months
        on loaded_months.month >= spans.first_month
        and loaded_months.month >= budgets.valid_from
        and (budgets.valid_to is null or loaded_months.month < budgets.valid_to)

),

-- A cost counts if it is in the currency of the budget, or if that is the reporting currency. In the second case, its rate
-- may be missing.
{%- set is_own = 'months.currency = costs.currency' %}
{%- set counts = "months.currency in (costs.currency, '" ~ reporting_currency() ~ "')" %}

counted as (

    select
        months.budget_row,
        months.month,
        costs.currency,
        {{ counts }} as counts,
        case when {{ counts }} then costs.has_forecast end as has_forecast,
        {% for cost in ['cost', 'remaining_cost'] -%}
        {%- set billed, effective = ('billed_' if cost == 'cost' else '') ~ cost, 'effective_' ~ cost -%}
        case when months.cost_type = 'effective' then costs.{{ effective }} else costs.{{ billed }} end as {{ cost }},
        case
            when {{ is_own }} and months.cost_type = 'effective' then costs.{{ effective }}
            when {{ is_own }} then costs.{{ billed }}
            when {{ counts }} and months.cost_type = 'effective' then costs.reporting_{{ effective }}
            when {{ counts }} then costs.reporting_{{ cost }}
        end as counted_{{ cost }},
        {% endfor -%}
        {% for column in reporting_columns() -%}
        case when {{ counts }} then costs.{{ column }} end as {{ column }}{{ ',' if not loop.last }}
        {% endfor %}
    from months
    inner join costs
        on months.budget = costs.scope_name
        and months.month = costs.month

),

totals as (

    select
        budget_row,
        month,
        sum(counted_cost) as actual,
        sum(counted_cost + counted_remaining_cost) as forecast,
        sum(has_forecast) > 0 and count(counted_cost + counted_remaining_cost) = count(case when counts then 1 end)
            as is_forecast,
        count(has_forecast) - sum(has_forecast) as without_forecast,
        max(case when currency is null or (counts and counted_cost is null) then 1 else 0 end) = 1 as lacks_cost,
        {{- aggregate_reporting('case when counts then 1 end') }}
    from counted
    group by budget_row, month

),

other_currencies as (

    select
        budget_row,
        month,
        {{ joined('currency') }} as currencies
    from (
        select distinct budget_row, month, currency
        from counted
        where counted_cost is null and (cost <> 0 or remaining_cost <> 0)
    ) as left_out
    group by budget_row, month

),

unpriced_months as (

    select distinct
        provider,
        account,
        cast({{ dbt.date_trunc('month', 'date') }} as date) as month
    from unpriced_usage

),

dimension_months as (

    select distinct
        provider,
        account,
        dimension,
        cast({{ dbt.date_trunc('month', 'date') }} as date) as month
    from usage_by_dimension

),

months_with_usage as (

    select distinct
        provider,
        account,
        billing_month as month
    from cost_monthly
    where charge_category = 'Usage' and account <> '' and (billed_cost <> 0 or effective_cost <> 0)

),

without_cost as (

    select
        months.budget_row,
        months.month
    from months
    inner join unpriced_months
        on months.month = unpriced_months.month
        and (months.provider is null or months.provider = unpriced_months.provider)
        and (months.account is null or months.account = unpriced_months.account)

    union distinct

    -- Cost without a day, such as that of monthly Mathpix usage, is not allocated to the values of a dimension.
    select
        months.budget_row,
        months.month
    from months
    inner join months_with_usage
        on months.scope = 'dimension'
        and months.month = months_with_usage.month
        and months.provider = months_with_usage.provider
        and (months.account is null or months.account = months_with_usage.account)
    left join dimension_months
        on months_with_usage.provider = dimension_months.provider
        and months_with_usage.account = dimension_months.account
        and months_with_usage.month = dimension_months.month
        and months.dimension = dimension_months.dimension
    where dimension_months.provider is null

),

final as (

    select
        months.budget,
        cast(months.scope as {{ dbt.type_string() }}) as scope,
        cast(months.provider as {{ dbt.type_string() }}) as provider,
        cast(months.account as {{ dbt.type_string() }}) as account,
        cast(months.dimension as {{ dbt.type_string() }}) as dimension,
        cast(
            case when months.is_pattern then {{ dbt.concat(['months.value', "'*'"]) }} else months.value end
            as {{ dbt.type_string() }}
        ) as value,
        cast(months.team as {{ dbt.type_string() }}) as team,
        cast(months.cost_centre as {{ dbt.type_string() }}) as cost_centre,
        months.month,
        cast(months.cost_type as {{ dbt.type_string() }}) as cost_type,
        months.amount,
        cast(months.currency as {{ dbt.type_string() }}) as currency,
        cast(coalesce(totals.actual, 0) as numeric(28, 9)) as actual,
        {%- if reporting_currency() %}
        cast('{{ reporting_currency() }}' as {{ dbt.type_string() }}) as reporting_currency,
        cast(case
            when totals.month is null then 0
            when months.cost_type = 'effective' then totals.reporting_effective_cost
            else totals.reporting_cost
        end as numeric(28, 9)) as reporting_cost,
        {%- else %}
        totals.reporting_currency,
        totals.reporting_cost,
        {%- endif %}
        cast(totals.fx_rate as {{ type_rate() }}) as fx_rate,
        cast(case when totals.fx_rate is not null then totals.fx_date end as date) as fx_date,
        cast(case when totals.is_forecast then totals.forecast end as numeric(28, 9)) as forecast,
        cast(coalesce(totals.actual, 0) - months.amount as numeric(28, 9)) as variance,
        {{ divided('coalesce(totals.actual, 0)', 'months.amount') }} as share_used,
        coalesce(totals.actual, 0) > months.amount as is_over,
        cast(case when totals.is_forecast then totals.without_forecast end as integer) as accounts_without_forecast,
        cast(other_currencies.currencies as {{ dbt.type_string() }}) as other_currencies,
        coalesce(totals.lacks_cost, false) or without_cost.month is not null as has_missing_cost,
        cast(months.thresholds as {{ dbt.type_string() }}) as thresholds,
        cast(months.forecast_thresholds as {{ dbt.type_string() }}) as forecast_thresholds,
        cast(months.budget_file as {{ dbt.type_string() }}) as budget_file,
        months.budget_row
    from months
    left join totals
        on months.budget_row = totals.budget_row
        and months.month = totals.month
    left join other_currencies
        on months.budget_row = other_currencies.budget_row
        and months.month = other_currencies.month
    left join without_cost
        on months.budget_row = without_cost.budget_row
        and months.month = without_cost.month

)

select * from final
