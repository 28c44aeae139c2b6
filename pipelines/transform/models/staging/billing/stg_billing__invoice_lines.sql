-- One row per line of an invoice.

with

invoice_lines as (

    select * from {{ raw_table('billing', 'invoice_lines', added=['period_start', 'period_end']) }}

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
        cast(amount as numeric(28, 9)) as amount,
        cast(period_start as date) as period_start,
        cast(period_end as date) as period_end
    from invoice_lines

)

select * from final
