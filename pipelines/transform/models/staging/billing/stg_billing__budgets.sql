-- One row per budget: a scope, a currency, a type of cost and a period of validity.

with

budgets as (

    select * from {{ raw_table('billing', 'budgets') }}

),

final as (

    select
        cast(case
            {{ scope_names() }}
            when account = '' then {{ dbt.concat(['provider', "' '", 'dimension', "' '", 'value']) }}
            else {{ dbt.concat(['provider', "'/'", 'account', "' '", 'dimension', "' '", 'value']) }}
        end as {{ dbt.type_string() }}) as budget,
        scope,
        nullif(provider, '') as provider,
        nullif(account, '') as account,
        nullif(dimension, '') as dimension,
        case when value like '%*' then substring(value, 1, length(value) - 1) else nullif(value, '') end as value,
        coalesce(value like '%*', false) as is_pattern,
        nullif(team, '') as team,
        nullif(cost_centre, '') as cost_centre,
        cast(amount as numeric(28, 9)) as amount,
        currency,
        cost_type,
        coalesce(thresholds, '50;80;100') as thresholds,
        coalesce(forecast_thresholds, '100') as forecast_thresholds,
        cast(valid_from as date) as valid_from,
        cast(valid_to as date) as valid_to,
        source as budget_file,
        cast(row_number as bigint) as budget_row
    from budgets

)

select * from final
