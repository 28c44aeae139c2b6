-- One row per provider, billing account, billing month and currency that exactly one issued invoice covers.
-- A month that two invoices cover has no row: its charges cannot be assigned to one of them.

with

invoices as (

    select * from {{ ref('stg_billing__invoices') }}

),

months as (

    select * from {{ ref('int_billing__months') }}

),

final as (

    select
        months.provider,
        months.billing_account,
        months.billing_month,
        invoices.currency,
        min(invoices.invoice_id) as invoice_id
    from months
    inner join invoices
        on months.provider = invoices.provider
        and months.billing_account = invoices.billing_account
        and months.billing_month >= invoices.period_start
        and months.billing_month < invoices.period_end
    where invoices.status = 'issued'
    group by months.provider, months.billing_account, months.billing_month, invoices.currency
    having count(*) = 1

)

select * from final
