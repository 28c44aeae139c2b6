-- One row per period and invoice line that this build closes (`event = 'closed'`) or looks at for the first time although the
-- invoice differs from the computed usage (`event = 'differs'`).
-- An invoice that agrees within the tolerance closes all its periods in `int_billing__closable_periods`. One that exceeds the
-- computed usage closes nothing, because usage may be missing. Any other invoice that differs closes its periods a day later:
-- the vendor may have left rows out when the invoice was first seen.

with

closable as (

    select * from {{ ref('int_billing__closable_periods') }}

),

compared as (

    select * from {{ ref('int_invoices__compared') }}

),

priced_usage as (

    select * from {{ ref('int_usage__priced') }}

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

compared_lines as (

    select compared.*
    from compared
    inner join closable_lines
        on compared.provider = closable_lines.provider
        and compared.billing_account = closable_lines.billing_account
        and compared.invoice_id = closable_lines.invoice_id
        and compared.line_number = closable_lines.line_number

),

-- `computed_quantity` excludes usage without a price and usage that a grant covers. An invoice may state both, so they are
-- added.
omitted_usage as (

    select
        compared_lines.provider,
        compared_lines.billing_account,
        compared_lines.invoice_id,
        compared_lines.line_number,
        sum(priced_usage.quantity) as quantity,
        max(priced_usage.unit) as unit
    from priced_usage
    inner join compared_lines
        on priced_usage.provider = compared_lines.provider
        and priced_usage.billing_account = compared_lines.billing_account
        and priced_usage.sku_id = compared_lines.sku_id
        and priced_usage.billing_date >= compared_lines.period_start
        and priced_usage.billing_date < compared_lines.period_end
    where
        priced_usage.scenario = 'computed'
        and (not priced_usage.is_priced or priced_usage.grant_id is not null)
    group by compared_lines.provider, compared_lines.billing_account, compared_lines.invoice_id, compared_lines.line_number

),

with_omitted_usage as (

    select
        compared_lines.*,
        coalesce(compared_lines.computed_quantity, 0) + coalesce(omitted_usage.quantity, 0) as total_quantity,
        coalesce(compared_lines.computed_unit, omitted_usage.unit) as total_unit
    from compared_lines
    left join omitted_usage
        on compared_lines.provider = omitted_usage.provider
        and compared_lines.billing_account = omitted_usage.billing_account
        and compared_lines.invoice_id = omitted_usage.invoice_id
        and compared_lines.line_number = omitted_usage.line_number

),

-- Quantities are compared if the line names a SKU, the line and its parts all state a quantity, and the units agree; otherwise
-- amounts. A line in another currency than its charges cannot be compared.
differences as (

    select
        *,
        case
            when is_mismatched then null
            when sku_id <> '' and is_quantity_stated and {{ is_same_unit('unit', 'total_unit') }}
                then invoiced_quantity - total_quantity
            else net - coalesce(billed_cost, 0)
        end as excess,
        case
            when sku_id <> '' and is_quantity_stated and {{ is_same_unit('unit', 'total_unit') }}
                then cast({{ var('reconciliation_tolerance_fraction') }} as numeric(28, 9)) * abs(total_quantity)
            else {{ reconciliation_tolerance('billed_cost') }}
        end as tolerance
    from with_omitted_usage

),

compared_invoices as (

    select
        provider,
        billing_account,
        invoice_id,
        max(case when excess > tolerance then 1 else 0 end) as is_short,
        max(case when excess is null or excess < -tolerance then 1 else 0 end) as is_different
    from differences
    group by provider, billing_account, invoice_id

),

decided as (

    select
        closable.*,
        differed.first_seen_at,
        case
            when coalesce(compared_invoices.is_different, 0) = 0 then 'closed'
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
    where coalesce(compared_invoices.is_short, 0) = 0

),

final as (

    select * from decided
    where event = 'closed' or first_seen_at is null

)

select * from final
