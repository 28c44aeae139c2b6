-- One row per version of an exchange rate into the reporting currency, with the time from which and until which it was loaded.
-- The present rates have no `superseded_at`. A closed period takes the versions that were loaded when it closed.

{%- set relation = source('billing', 'fx_rates') %}

with

versions as (

    {% if execute and raw_table_exists('billing', relation) and history_of(relation) -%}
    {{ row_versions(relation, declared_columns('billing', 'fx_rates'), loaded_column('billing')) }}
    {%- else -%}
    select
        *,
        cast(null as {{ type_utc() }}) as superseded_at
    from {{ raw_table('billing', 'fx_rates') }}
    {%- endif %}

),

final as (

    select
        cast(currency as {{ dbt.type_string() }}) as currency,
        cast(date as date) as date,
        cast(rate as {{ type_rate() }}) as rate,
        cast(rate_source as {{ dbt.type_string() }}) as rate_source,
        cast({{ to_utc('loaded_at') }} as {{ type_utc() }}) as loaded_at,
        cast(superseded_at as {{ type_utc() }}) as superseded_at,
        cast(source as {{ dbt.type_string() }}) as rate_file,
        cast(row_number as bigint) as rate_row
    from versions
    where {{ "reporting_currency = '" ~ reporting_currency() ~ "'" if reporting_currency() else '1 = 0' }}

)

select * from final
