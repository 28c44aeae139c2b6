-- One row per scenario and metered bucket, with the quantity that the following models rate. They rate each scenario
-- separately.

{{ config(materialized='view') }}

{%- set columns = [
    'provider', 'billing_account', 'account', 'meter', 'timespan', 'bucket_start', 'bucket_end', 'billing_date',
    'billing_month', 'sku_id', 'highest_priced_sku_id', 'unit', 'quantity', 'is_billed', 'is_complete',
] %}

with

metered_usage as (

    select * from {{ ref('int_usage__metered') }}

),

as_billed as (

    select * from {{ ref('int_usage__as_billed') }}

),

final as (

    select
        cast('computed' as {{ dbt.type_string() }}) as scenario,
        {{ columns | join(',\n        ') }}
    from metered_usage

    union all

    select
        scenario,
        {{ columns | join(',\n        ') }}
    from as_billed

)

select * from final
