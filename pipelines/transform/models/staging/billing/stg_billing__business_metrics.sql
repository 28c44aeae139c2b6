-- One row per business metric, date and scope.

with

business_metrics as (

    select * from {{ raw_table('billing', 'business_metrics') }}

),

final as (

    select
        metric,
        cast(date as date) as date,
        scope,
        cast(case
            {{ scope_names() }}
        end as {{ dbt.type_string() }}) as scope_name,
        nullif(provider, '') as provider,
        nullif(account, '') as account,
        nullif(team, '') as team,
        nullif(cost_centre, '') as cost_centre,
        cast({{ raw_column('value') }} as numeric(28, 9)) as metric_value
    from business_metrics

)

select * from final
