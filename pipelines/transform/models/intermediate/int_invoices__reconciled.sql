-- One row per invoice line, and per provider, billing account, month, SKU and currency of charges that no line covers, with the
-- result of the comparison. A provider without any invoice has one row instead.

with

compared as (

    select * from {{ ref('int_invoices__compared') }}

),

missing as (

    select * from {{ ref('int_invoices__missing') }}

),

accounts as (

    select * from {{ ref('int_accounts__completed') }}

),

priced_usage as (

    select * from {{ ref('int_usage__priced') }}

),

{{ loaded_billing_accounts() }},

-- The models do not read the clock: a period is over if any vendor is loaded beyond it.
newest as (

    select max(complete_until) as loaded_until
    from accounts

),

{%- set invoiced = [
    'invoiced', 'net', 'amount', 'tax', 'billed_cost', 'invoiced_quantity', 'quantity_variance', 'price_variance', 'exceeds_usage',
] %}
{%- set common = [
    'provider', 'billing_account', 'line', 'invoice_status', 'billing_month', 'period_start', 'period_end', 'computed',
    'computed_high', 'computed_quantity', 'currency', 'depends_on_usage', 'is_mismatched',
] %}

unioned as (

    select
        {{ common | join(', ') }},
        {{ invoiced | join(', ') }},
        false as is_passed_over,
        invoice_id,
        line_number,
        main_invoice_id,
        main_line_number,
        charge_category
    from compared

    union all

    select
        {{ common | join(', ') }},
        {%- for column in invoiced %}
        null as {{ column }},
        {%- endfor %}
        is_passed_over,
        null as invoice_id,
        null as line_number,
        null as main_invoice_id,
        null as main_line_number,
        null as charge_category
    from missing

),

-- The row number within a provider is the key of the self-joins below.
measured as (

    select
        unioned.*,
        row_number() over (
            partition by unioned.provider
            order by
                unioned.billing_account, unioned.invoice_id, unioned.line_number, unioned.billing_month, unioned.line,
                unioned.currency
        ) as row_key,
        unioned.net - unioned.computed as difference,
        {{ reconciliation_tolerance('unioned.computed') }} as tolerance,
        loaded.provider is not null as is_loaded,
        coalesce(
            loaded.complete_from <= unioned.period_start and loaded.complete_before >= unioned.period_end, false
        ) as is_whole,
        coalesce(loaded.complete_from > unioned.period_start, false)
        or coalesce(newest.loaded_until >= {{ later(
            'hour', var('freshness_late_after_hours'), 'cast(unioned.period_end as ' ~ type_utc() ~ ')',
        ) }}, false) as is_late,
        newest.loaded_until >= {{ later('month', 1, 'cast(unioned.period_end as ' ~ type_utc() ~ ')') }} as is_overdue
    from unioned
    left join loaded
        on unioned.provider = loaded.provider
        and unioned.billing_account = loaded.billing_account
    cross join newest

),

unpriced as (

    select distinct
        provider,
        billing_account,
        counted_sku_id as sku_id,
        billing_date
    from priced_usage
    where scenario = 'computed' and not is_priced

),

with_unpriced_usage as (

    select distinct
        measured.provider,
        measured.row_key
    from measured
    inner join unpriced
        on measured.provider = unpriced.provider
        and (measured.billing_account = unpriced.billing_account or measured.invoice_status = 'never')
        and (measured.line in ('Usage', 'total') or measured.line = unpriced.sku_id)
        and unpriced.billing_date >= measured.period_start
        and unpriced.billing_date < measured.period_end

),

-- An issued invoice is for a period that is over.
judged as (

    select
        measured.*,
        case
            when invoice_status = 'never' then 'no invoices given'
            when charge_category = 'Tax' then 'not computed'
            when depends_on_usage and is_loaded and not is_whole and (invoice_status = 'issued' or is_late)
                then 'not loaded whole'
            when invoice_status = 'none' and not is_whole and not is_late then 'month still open'
            when invoice_status = 'draft' then 'draft'
            when invoice_status = 'none' and computed = 0 then 'matched'
            when is_mismatched then 'currency mismatch'
            when invoice_status = 'none' and (is_passed_over or is_overdue) then 'missing invoice'
            when invoice_status = 'none' then 'not invoiced yet'
            when net = coalesce(computed, 0) then 'matched'
            when abs(net - coalesce(computed, 0)) <= tolerance then 'within tolerance'
            when computed is null and (net > 0 or charge_category = 'Credit') then 'missing usage'
            when net > coalesce(computed, 0) then 'over'
            else 'under'
        end as own_status
    from measured

),

-- A line that is part of another one has its status.
final as (

    select
        judged.*,
        with_unpriced_usage.row_key is not null as has_unpriced_usage,
        cast(coalesce(
            max(
                case
                    when judged.invoice_id = judged.main_invoice_id and judged.line_number = judged.main_line_number
                        then judged.own_status
                end
            ) over (
                partition by
                    judged.provider, judged.billing_account, judged.main_invoice_id, judged.main_line_number
            ),
            judged.own_status
        ) as {{ dbt.type_string() }}) as status
    from judged
    left join with_unpriced_usage
        on judged.provider = with_unpriced_usage.provider
        and judged.row_key = with_unpriced_usage.row_key

)

select
    {{ (common + invoiced) | join(', ') }},
    invoice_id,
    line_number,
    main_invoice_id,
    main_line_number,
    charge_category,
    difference,
    tolerance,
    is_loaded,
    has_unpriced_usage,
    status
from final
