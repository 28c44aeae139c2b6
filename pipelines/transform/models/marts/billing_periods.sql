-- One row per provider, billing account and billing month, from the first month with any data to the last loaded one.

with

months as (

    select * from {{ ref('int_billing__months') }}

),

final as (

    select
        provider,
        billing_account,
        billing_month,
        cast(billing_timezone as {{ dbt.type_string() }}) as billing_timezone,
        month_start as period_start,
        month_end as period_end,
        is_complete,
        is_invoiced
    from months

)

select * from final
