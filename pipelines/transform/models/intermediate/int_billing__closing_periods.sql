-- One row per period and invoice line that this build closes (`event = 'closed'`) or looks at for the first time although the
-- invoice differs from the computed usage (`event = 'differs'`).
-- An invoice that agrees within the tolerance closes all its periods in `int_billing__closable_periods`. One that exceeds the
-- computed usage closes nothing, because usage may be missing. One in another currency closes nothing either: it covers no
-- charge. Any other invoice that differs closes its periods a day later, because the vendor may have left rows out when a
-- build first saw the invoice.

with

closable as (

    select * from {{ ref('int_billing__closable_periods') }}

),

compared as (

    select * from {{ ref('int_invoices__compared') }}

),

differed as (

    select
        provider,
        account,
        meter,
        period_start,
        period_end,
        invoice_id,
        min(closed_at) as first_seen_at
    from {{ ref('int_usage__frozen_before') }}
    where event = 'differs'
    group by provider, account, meter, period_start, period_end, invoice_id

),

closable_lines as (

    select distinct
        provider,
        billing_account,
        invoice_id,
        line_number
    from closable

),

compared_invoices as (

    select
        compared.provider,
        compared.billing_account,
        compared.invoice_id,
        max(case when compared.exceeds_usage or compared.is_mismatched then 1 else 0 end) as stays_open,
        max(case when compared.is_below then 1 else 0 end) as is_below
    from compared
    inner join closable_lines
        on compared.provider = closable_lines.provider
        and compared.billing_account = closable_lines.billing_account
        and compared.invoice_id = closable_lines.invoice_id
        and compared.line_number = closable_lines.line_number
    group by compared.provider, compared.billing_account, compared.invoice_id

),

decided as (

    select
        closable.*,
        differed.first_seen_at,
        case
            when coalesce(compared_invoices.is_below, 0) = 0 then 'closed'
            when differed.first_seen_at <= {{ later('day', -1, build_time()) }} then 'closed'
            else 'differs'
        end as event
    from closable
    left join compared_invoices
        on closable.provider = compared_invoices.provider
        and closable.billing_account = compared_invoices.billing_account
        and closable.invoice_id = compared_invoices.invoice_id
    left join differed
        on closable.provider = differed.provider
        and closable.account = differed.account
        and closable.meter = differed.meter
        and closable.period_start = differed.period_start
        and closable.period_end = differed.period_end
        and closable.invoice_id = differed.invoice_id
    where coalesce(compared_invoices.stays_open, 0) = 0

),

final as (

    select * from decided
    where event = 'closed' or first_seen_at is null

)

select * from final
