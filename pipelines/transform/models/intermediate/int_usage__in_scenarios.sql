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

forecasted as (

    select * from {{ ref('int_usage__forecasted') }}

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

    union all

    select
        scenario,
        provider,
        billing_account,
        account,
        meter,
        cast('day' as {{ dbt.type_string() }}) as timespan,
        cast(date as {{ type_utc() }}) as bucket_start,
        cast({{ later('day', 1, 'cast(date as ' ~ type_utc() ~ ')') }} as {{ type_utc() }}) as bucket_end,
        date as billing_date,
        billing_month,
        sku_id,
        highest_priced_sku_id,
        unit,
        quantity,
        true as is_billed,
        true as is_complete
    from forecasted

)

select * from final
