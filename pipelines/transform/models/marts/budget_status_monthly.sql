-- One row per budget and loaded month of its validity, from the first month with data of its provider on.
-- Longer than 200 lines: the cost of the scopes comes from different marts.

with

budgets as (

    select * from {{ ref('stg_billing__budgets') }}

),

billing_months as (

    select * from {{ ref('int_billing__months') }}

),

forecasts as (

    select * from {{ ref('cost_forecast_monthly') }}

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

{%- if reporting_currency() %}

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

converted_usage as (

    select
        usage_by_dimension.*,
        daily_rates.reporting_currency,
        cast(usage_by_dimension.allocated_cost * daily_rates.fx_rate as numeric(28, 9)) as reporting_cost,
        cast(usage_by_dimension.allocated_effective_cost * daily_rates.fx_rate as numeric(28, 9)) as reporting_effective_cost,
        daily_rates.fx_rate,
        daily_rates.fx_date
    from usage_by_dimension
    left join daily_rates
        on usage_by_dimension.provider = daily_rates.provider
        and usage_by_dimension.account = daily_rates.account
        and usage_by_dimension.date = daily_rates.date
        and usage_by_dimension.currency = daily_rates.currency

),
{%- endif %}

-- Charges to a billing account as a whole count for the account of the same name, which is often the only one. The forecast has
-- no cost in the reporting currency.
account_costs as (

    select
        provider,
        coalesce(nullif(account, ''), billing_account) as account,
        billing_month as month,
        currency,
        cost_to_date as billed_cost,
        effective_cost_to_date as effective_cost,
        coalesce(forecast, cost_to_date) as forecast,
        coalesce(effective_forecast, effective_cost_to_date) as effective_forecast,
        case when forecast is null then 0 else 1 end as has_forecast,
        {%- for column, type in reporting_columns().items() %}
        cast(null as {{ type }}) as {{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from forecasts

    union all

    select
        provider,
        coalesce(nullif(account, ''), billing_account) as account,
        billing_month as month,
        currency,
        cast(0 as numeric(28, 9)) as billed_cost,
        cast(0 as numeric(28, 9)) as effective_cost,
        cast(null as numeric(28, 9)) as forecast,
        cast(null as numeric(28, 9)) as effective_forecast,
        cast(null as integer) as has_forecast,
        {{- select_reporting('cost_monthly') }}
    from cost_monthly

),

owner_costs as (

    select
        team,
        cost_centre,
        cast({{ dbt.date_trunc('month', 'date') }} as date) as month,
        currency,
        sum(billed_cost) as billed_cost,
        sum(effective_cost) as effective_cost,
        {{- aggregate_reporting() }}
    from cost_by_owner_daily
    group by team, cost_centre, cast({{ dbt.date_trunc('month', 'date') }} as date), currency

),

-- Usage whose cost is unknown has no currency.
dimension_costs as (

    select
        provider,
        account,
        dimension,
        value,
        cast({{ dbt.date_trunc('month', 'date') }} as date) as month,
        currency,
        sum(allocated_cost) as billed_cost,
        sum(allocated_effective_cost) as effective_cost,
        {{- aggregate_reporting() }}
    from {{ 'converted_usage' if reporting_currency() else 'usage_by_dimension' }}
    group by
        provider, account, dimension, value, cast({{ dbt.date_trunc('month', 'date') }} as date), currency

),

costs as (

    select
        months.budget_row,
        months.month,
        account_costs.currency,
        account_costs.billed_cost,
        account_costs.effective_cost,
        account_costs.forecast,
        account_costs.effective_forecast,
        account_costs.has_forecast,
        {{- select_reporting('account_costs') }}
    from months
    inner join account_costs
        on months.month = account_costs.month
        and months.scope in ('total', 'provider', 'account')
        and (months.provider is null or months.provider = account_costs.provider)
        and (months.account is null or months.account = account_costs.account)

    union all

    select
        months.budget_row,
        months.month,
        owner_costs.currency,
        owner_costs.billed_cost,
        owner_costs.effective_cost,
        cast(null as numeric(28, 9)) as forecast,
        cast(null as numeric(28, 9)) as effective_forecast,
        cast(null as integer) as has_forecast,
        {{- select_reporting('owner_costs') }}
    from months
    inner join owner_costs
        on months.month = owner_costs.month
        and months.scope = 'owner'
        and (months.team is null or months.team = owner_costs.team)
        and (months.cost_centre is null or months.cost_centre = owner_costs.cost_centre)

    union all

    select
        months.budget_row,
        months.month,
        dimension_costs.currency,
        dimension_costs.billed_cost,
        dimension_costs.effective_cost,
        cast(null as numeric(28, 9)) as forecast,
        cast(null as numeric(28, 9)) as effective_forecast,
        cast(null as integer) as has_forecast,
        {{- select_reporting('dimension_costs') }}
    from months
    inner join dimension_costs
        on months.month = dimension_costs.month
        and months.scope = 'dimension'
        and months.provider = dimension_costs.provider
        and months.dimension = dimension_costs.dimension
        and (months.account is null or months.account = dimension_costs.account)
        and (
            months.value = dimension_costs.value
            or (months.is_pattern and substring(dimension_costs.value, 1, length(months.value)) = months.value)
        )

),

by_currency as (

    select
        budget_row,
        month,
        currency,
        sum(billed_cost) as billed_cost,
        sum(effective_cost) as effective_cost,
        sum(forecast) as forecast,
        sum(effective_forecast) as effective_forecast,
        sum(has_forecast) as with_forecast,
        count(has_forecast) - sum(has_forecast) as without_forecast,
        {{- aggregate_reporting('case when has_forecast is null then 1 end') }}
    from costs
    group by budget_row, month, currency

),

other_currencies as (

    select
        months.budget_row,
        months.month,
        {{ joined('by_currency.currency') }} as currencies
    from months
    inner join by_currency
        on months.budget_row = by_currency.budget_row
        and months.month = by_currency.month
        and months.currency <> by_currency.currency
    where
        by_currency.billed_cost <> 0
        or by_currency.effective_cost <> 0
        or coalesce(by_currency.forecast, 0) <> 0
        or coalesce(by_currency.effective_forecast, 0) <> 0
    group by months.budget_row, months.month

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
        dimension,
        month
    from dimension_costs

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

    select
        budget_row,
        month
    from costs
    where currency is null

    union distinct

    -- Cost without a day, such as that of monthly Mathpix usage, is not allocated to the values of a dimension.
    select
        months.budget_row,
        months.month
    from months
    inner join account_costs
        on months.scope = 'dimension'
        and months.month = account_costs.month
        and months.provider = account_costs.provider
        and account_costs.billed_cost <> 0
    left join dimension_months
        on months.provider = dimension_months.provider
        and months.dimension = dimension_months.dimension
        and months.month = dimension_months.month
    where dimension_months.provider is null

),

measured as (

    select
        months.*,
        cast(coalesce(
            case when months.cost_type = 'effective' then by_currency.effective_cost else by_currency.billed_cost end, 0
        ) as numeric(28, 9)) as actual,
        by_currency.with_forecast > 0 as is_forecast,
        case when months.cost_type = 'effective' then by_currency.effective_forecast else by_currency.forecast end as forecast,
        by_currency.without_forecast,
        other_currencies.currencies,
        without_cost.month is not null as has_missing_cost,
        {%- if reporting_currency() %}
        '{{ reporting_currency() }}' as reporting_currency,
        case
            when by_currency.month is null then 0
            when months.cost_type = 'effective' then by_currency.reporting_effective_cost
            else by_currency.reporting_cost
        end as reporting_cost,
        {%- else %}
        by_currency.reporting_currency,
        by_currency.reporting_cost,
        {%- endif %}
        by_currency.fx_rate,
        by_currency.fx_date
    from months
    left join by_currency
        on months.budget_row = by_currency.budget_row
        and months.month = by_currency.month
        and months.currency = by_currency.currency
    left join other_currencies
        on months.budget_row = other_currencies.budget_row
        and months.month = other_currencies.month
    left join without_cost
        on months.budget_row = without_cost.budget_row
        and months.month = without_cost.month

),

final as (

    select
        budget,
        cast(scope as {{ dbt.type_string() }}) as scope,
        cast(provider as {{ dbt.type_string() }}) as provider,
        cast(account as {{ dbt.type_string() }}) as account,
        cast(dimension as {{ dbt.type_string() }}) as dimension,
        cast(case when is_pattern then {{ dbt.concat(['value', "'*'"]) }} else value end as {{ dbt.type_string() }}) as value,
        cast(team as {{ dbt.type_string() }}) as team,
        cast(cost_centre as {{ dbt.type_string() }}) as cost_centre,
        month,
        cast(cost_type as {{ dbt.type_string() }}) as cost_type,
        amount,
        cast(currency as {{ dbt.type_string() }}) as currency,
        actual,
        cast(reporting_currency as {{ dbt.type_string() }}) as reporting_currency,
        cast(reporting_cost as numeric(28, 9)) as reporting_cost,
        cast(fx_rate as {{ type_rate() }}) as fx_rate,
        cast(fx_date as date) as fx_date,
        cast(case when is_forecast then forecast end as numeric(28, 9)) as forecast,
        cast(actual - amount as numeric(28, 9)) as variance,
        {{ divided('actual', 'amount') }} as share_used,
        actual > amount as is_over,
        cast(case when is_forecast then without_forecast end as integer) as accounts_without_forecast,
        cast(currencies as {{ dbt.type_string() }}) as other_currencies,
        has_missing_cost,
        cast(thresholds as {{ dbt.type_string() }}) as thresholds,
        cast(forecast_thresholds as {{ dbt.type_string() }}) as forecast_thresholds,
        cast(budget_file as {{ dbt.type_string() }}) as budget_file,
        budget_row
    from measured

)

select * from final
