-- One row per invoice issuer and billing period.
-- No vendor reports when it opened or closed a period: the times come from the period itself and its invoices.

with

months as (

    select * from {{ ref('int_billing__months') }}

),

services as (

    select * from {{ ref('focus_services') }}

),

-- Accounts with other billing time zones have periods of their own.
periods as (

    select
        provider,
        month_start,
        month_end,
        min(case when is_invoiced then 1 else 0 end) = 1 as is_invoiced,
        max(last_invoiced_on) as last_invoiced_on
    from months
    group by provider, month_start, month_end

),

final as (

    select
        periods.month_start as {{ adapter.quote('BillingPeriodCreated') }},
        periods.month_end as {{ adapter.quote('BillingPeriodEnd') }},
        coalesce(cast(periods.last_invoiced_on as {{ type_utc() }}), periods.month_start) as {{ adapter.quote('BillingPeriodLastUpdated') }},
        periods.month_start as {{ adapter.quote('BillingPeriodStart') }},
        cast(case when periods.is_invoiced then 'Closed' else 'Open' end as {{ dbt.type_string() }}) as {{ adapter.quote('BillingPeriodStatus') }},
        coalesce(services.provider_name, periods.provider) as {{ adapter.quote('InvoiceIssuerName') }}
    from periods
    left join services
        on periods.provider = services.provider

)

select * from final
