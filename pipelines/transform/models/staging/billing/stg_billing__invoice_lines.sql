-- One row per line of an invoice.

with

invoice_lines as (

    select * from {{ raw_table('billing', 'invoice_lines') }}

),

final as (

    select
        provider,
        billing_account,
        invoice_id,
        cast(line_number as integer) as line_number,
        charge_category,
        sku_id,
        description,
        cast(quantity as numeric(28, 9)) as quantity,
        unit,
        cast(amount as numeric(28, 9)) as amount
    from invoice_lines

)

select * from final
