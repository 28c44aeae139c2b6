-- One row per invoice.

with

invoices as (

    select * from {{ raw_table('billing', 'invoices', added=['tax']) }}

),

final as (

    select
        provider,
        billing_account,
        invoice_id,
        cast(period_start as date) as period_start,
        cast(period_end as date) as period_end,
        cast(issued_on as date) as issued_on,
        status,
        currency,
        cast(total as numeric(28, 9)) as total,
        cast(tax as numeric(28, 9)) as tax
    from invoices

)

select * from final
