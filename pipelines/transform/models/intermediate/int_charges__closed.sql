-- One row per charge of a closed billing month, as computed when the month was first seen closed.
-- This is the only table that cannot be rebuilt: the raw tables hold the vendor's present figures, not those of the day it
-- billed. The table only grows, and dbt's --full-refresh does not touch it. To close a month again, delete its rows. A column
-- that a later version adds is null in existing rows.

{{ config(materialized='incremental', incremental_strategy='append', full_refresh=false, on_schema_change='append_new_columns') }}

{# Where dbt may not ask the database, nothing was closed before. #}
{%- set has_history = flags.INTROSPECT and is_incremental() %}

with

charges as (

    select * from {{ ref('int_charges__computed') }}

),

months as (

    select * from {{ ref('int_billing__months') }}

),

{% if has_history -%}
closed_before as (

    select distinct
        provider,
        billing_account,
        billing_month
    from {{ this }}

),

{% endif -%}

closed_now as (

    select
        months.provider,
        months.billing_account,
        months.billing_month
    from months
    {%- if has_history %}
    left join closed_before
        on months.provider = closed_before.provider
        and months.billing_account = closed_before.billing_account
        and months.billing_month = closed_before.billing_month
    {%- endif %}
    where
        months.is_closed and months.is_complete
        {%- if has_history %}
        and closed_before.billing_month is null
        {%- endif %}

),

final as (

    select charges.*
    from charges
    inner join closed_now
        on charges.provider = closed_now.provider
        and charges.billing_account = closed_now.billing_account
        and charges.billing_month = closed_now.billing_month

)

select * from final
