-- One row per issued invoice line for usage, and billing month, account and meter that it may close: the days of the line
-- in the month are fully loaded and not closed yet. The meter is empty if the line covers all meters.

with

invoice_lines as (

    select * from {{ ref('int_invoices__lines') }}
    where status = 'issued'

),

accounts as (

    select * from {{ ref('int_accounts__completed') }}

),

months as (

    select * from {{ ref('int_billing__months') }}

),

skus as (

    select * from {{ ref('int_skus__mapped') }}

),

periods as (

    select * from {{ ref('int_billing__closed_periods') }}
    where reopened_at is null

),

{{ loaded_billing_accounts() }},

usage_lines as (

    select invoice_lines.*
    from invoice_lines
    inner join loaded
        on invoice_lines.provider = loaded.provider
        and invoice_lines.billing_account = loaded.billing_account
        and invoice_lines.period_start >= loaded.complete_from
        and invoice_lines.period_end <= loaded.complete_before
    where invoice_lines.covers_usage

),

portions as (

    select
        usage_lines.provider,
        usage_lines.billing_account,
        usage_lines.invoice_id,
        usage_lines.line_number,
        accounts.account,
        accounts.billing_timezone,
        coalesce(skus.meter, '') as meter,
        greatest(usage_lines.period_start, months.billing_month) as period_start,
        least(usage_lines.period_end, months.next_month) as period_end
    from usage_lines
    inner join accounts
        on usage_lines.provider = accounts.provider
        and usage_lines.billing_account = accounts.billing_account
    inner join months
        on usage_lines.provider = months.provider
        and usage_lines.billing_account = months.billing_account
        and usage_lines.period_start < months.next_month
        and usage_lines.period_end > months.billing_month
    left join skus
        on usage_lines.specificity = 3
        and usage_lines.provider = skus.provider
        and usage_lines.sku_id = skus.sku_id
    where usage_lines.specificity < 3 or skus.meter is not null

),

bounded as (

    select
        *,
        {{ start_of_date('period_start', 'billing_timezone') }} as bucket_start,
        {{ start_of_date('period_end', 'billing_timezone') }} as bucket_end
    from portions

),

final as (

    select bounded.*
    from bounded
    left join periods
        on bounded.provider = periods.provider
        and bounded.account = periods.account
        and periods.meter in ('', bounded.meter)
        and bounded.period_start >= periods.period_start
        and bounded.period_end <= periods.period_end
        and bounded.bucket_start >= periods.bucket_start
        and bounded.bucket_end <= periods.bucket_end
    where periods.closed_at is null

)

select * from final
