-- One row per provider, billing account and billing month, from the first month with any data to the last loaded one.
-- It is invoiced if issued invoices for usage cover it from its first to its last day.

with

accounts as (

    select * from {{ ref('int_accounts__completed') }}

),

metered_usage as (

    select * from {{ ref('int_usage__metered') }}

),

grants as (

    select * from {{ ref('stg_billing__credit_grants') }}

),

fees as (

    select * from {{ ref('stg_billing__fees') }}

),

invoices as (

    select * from {{ ref('stg_billing__invoices') }}

),

invoice_lines as (

    select * from {{ ref('int_invoices__lines') }}

),

signups as (

    select * from {{ ref('int_billing__signups') }}

),

numbers as (

    {{ dbt.generate_series(1200) }}

),

{{ loaded_billing_accounts() }},

known_dates as (

    select provider, billing_account, billing_month as date from metered_usage
    union all
    select provider, billing_account, starts_on as date from grants
    union all
    select provider, billing_account, valid_from as date from fees
    union all
    select provider, billing_account, period_start as date from invoices
    union all
    select provider, billing_account, signed_up_on as date from signups
    union all
    select provider, billing_account, complete_from as date from loaded

),

used as (

    select
        provider,
        billing_account,
        max(billing_month) as last_month
    from metered_usage
    group by provider, billing_account

),

spans as (

    select
        loaded.provider,
        loaded.billing_account,
        loaded.billing_timezone,
        loaded.complete_from,
        loaded.complete_before,
        cast({{ dbt.date_trunc('month', 'min(known_dates.date)') }} as date) as first_month,
        cast({{ dbt.date_trunc('month', 'max(greatest(loaded.last_date, coalesce(used.last_month, loaded.last_date)))') }}
            as date) as last_month
    from loaded
    inner join known_dates
        on loaded.provider = known_dates.provider
        and loaded.billing_account = known_dates.billing_account
    left join used
        on loaded.provider = used.provider
        and loaded.billing_account = used.billing_account
    group by
        loaded.provider, loaded.billing_account, loaded.billing_timezone, loaded.complete_from, loaded.complete_before

),

months as (

    select
        spans.*,
        cast({{ later('month', 'cast(numbers.generated_number as integer) - 1', 'spans.first_month') }} as date)
            as billing_month
    from spans
    inner join numbers
        on numbers.generated_number <= {{ dbt.datediff('spans.first_month', 'spans.last_month', 'month') }} + 1

),

bounded as (

    select
        *,
        cast({{ later('month', 1, 'billing_month') }} as date) as next_month
    from months

),

-- Lines for several SKUs can have one period.
issued_periods as (

    select
        invoice_lines.provider,
        invoice_lines.billing_account,
        invoice_lines.period_start,
        invoice_lines.period_end,
        max(coalesce(invoices.issued_on, invoices.period_end)) as issued_on
    from invoice_lines
    inner join invoices
        on invoice_lines.provider = invoices.provider
        and invoice_lines.billing_account = invoices.billing_account
        and invoice_lines.invoice_id = invoices.invoice_id
    where invoice_lines.status = 'issued' and invoice_lines.covers_usage
    group by
        invoice_lines.provider, invoice_lines.billing_account, invoice_lines.period_start, invoice_lines.period_end

),

issued as (

    select
        bounded.provider,
        bounded.billing_account,
        bounded.billing_month,
        sum({{ dbt.datediff(
            'greatest(issued_periods.period_start, bounded.billing_month)',
            'least(issued_periods.period_end, bounded.next_month)', 'day',
        ) }}) >= {{ dbt.datediff('bounded.billing_month', 'bounded.next_month', 'day') }} as is_invoiced,
        max(issued_periods.issued_on) as last_invoiced_on
    from bounded
    inner join issued_periods
        on bounded.provider = issued_periods.provider
        and bounded.billing_account = issued_periods.billing_account
        and issued_periods.period_start < bounded.next_month
        and issued_periods.period_end > bounded.billing_month
    group by bounded.provider, bounded.billing_account, bounded.billing_month, bounded.next_month

),

final as (

    select
        bounded.provider,
        bounded.billing_account,
        bounded.billing_month,
        bounded.next_month,
        bounded.billing_timezone,
        {{ start_of_date('bounded.billing_month', 'bounded.billing_timezone') }} as month_start,
        {{ start_of_date('bounded.next_month', 'bounded.billing_timezone') }} as month_end,
        coalesce(issued.is_invoiced, false) as is_invoiced,
        issued.last_invoiced_on,
        coalesce(
            bounded.billing_month >= bounded.complete_from and bounded.next_month <= bounded.complete_before, false
        ) as is_complete
    from bounded
    left join issued
        on bounded.provider = issued.provider
        and bounded.billing_account = issued.billing_account
        and bounded.billing_month = issued.billing_month

)

select * from final
