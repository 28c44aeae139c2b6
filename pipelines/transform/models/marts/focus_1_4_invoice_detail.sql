-- One row per line of an invoice.
-- Values that are in no invoice file are derived or null: terms and due date are unknown, times come from the day of issue.

with

invoices as (

    select * from {{ ref('stg_billing__invoices') }}

),

invoice_lines as (

    select * from {{ ref('stg_billing__invoice_lines') }}

),

months as (

    select * from {{ ref('int_billing__months') }}

),

services as (

    select * from {{ ref('focus_services') }}

),

-- The billing time zone comes from the billing months. An invoice for a time without charges has none: its days are read as
-- UTC.
periods as (

    select
        invoices.provider,
        invoices.billing_account,
        invoices.invoice_id,
        invoices.issued_on,
        invoices.status,
        invoices.currency,
        coalesce(min(months.month_start), cast(invoices.period_start as {{ type_utc() }})) as period_start,
        coalesce(max(months.month_end), cast(invoices.period_end as {{ type_utc() }})) as period_end,
        cast(coalesce(invoices.issued_on, invoices.period_end) as {{ type_utc() }}) as noted_at
    from invoices
    left join months
        on invoices.provider = months.provider
        and invoices.billing_account = months.billing_account
        and months.next_month > invoices.period_start
        and months.billing_month < invoices.period_end
    group by
        invoices.provider,
        invoices.billing_account,
        invoices.invoice_id,
        invoices.issued_on,
        invoices.status,
        invoices.currency,
        invoices.period_start,
        invoices.period_end

),

final as (

    select
        invoice_lines.amount as {{ adapter.quote('BilledCost') }},
        periods.billing_account as {{ adapter.quote('BillingAccountId') }},
        periods.currency as {{ adapter.quote('BillingCurrency') }},
        periods.period_end as {{ adapter.quote('BillingPeriodEnd') }},
        periods.period_start as {{ adapter.quote('BillingPeriodStart') }},
        invoice_lines.charge_category as {{ adapter.quote('ChargeCategory') }},
        periods.noted_at as {{ adapter.quote('InvoiceDetailCreated') }},
        nullif(invoice_lines.description, '') as {{ adapter.quote('InvoiceDetailDescription') }},
        case
            when nullif(invoice_lines.sku_id, '') is not null
                then {{ dbt.concat(["'{\"SkuId\": \"'", 'invoice_lines.sku_id', "'\"}'"]) }}
        end as {{ adapter.quote('InvoiceDetailGrain') }},
        {{ dbt.concat([
            'periods.invoice_id', "'/'", 'cast(invoice_lines.line_number as ' ~ dbt.type_string() ~ ')',
        ]) }} as {{ adapter.quote('InvoiceDetailId') }},
        periods.noted_at as {{ adapter.quote('InvoiceDetailLastUpdated') }},
        periods.invoice_id as {{ adapter.quote('InvoiceId') }},
        cast(periods.issued_on as {{ type_utc() }}) as {{ adapter.quote('InvoiceIssueDate') }},
        cast(
            case periods.status when 'issued' then 'Issued' when 'voided' then 'Voided' else 'Open' end
            as {{ dbt.type_string() }}
        ) as {{ adapter.quote('InvoiceIssueStatus') }},
        coalesce(services.provider_name, periods.provider) as {{ adapter.quote('InvoiceIssuerName') }},
        cast(null as {{ type_utc() }}) as {{ adapter.quote('PaymentDueDate') }},
        cast('Not stated' as {{ dbt.type_string() }}) as {{ adapter.quote('PaymentTerms') }},
        periods.invoice_id as {{ adapter.quote('ReferenceInvoiceId') }}
    from invoice_lines
    inner join periods
        on invoice_lines.provider = periods.provider
        and invoice_lines.billing_account = periods.billing_account
        and invoice_lines.invoice_id = periods.invoice_id
    left join services
        on periods.provider = services.provider

)

select * from final
