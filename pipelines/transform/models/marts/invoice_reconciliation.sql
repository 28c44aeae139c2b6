-- One row per provider, billing account, invoice and line, and per provider, billing account, month, SKU and currency of charges
-- that no line covers: the computed and the invoiced amount, and the action to take for a difference.
-- A provider without any invoice has one row instead.

with

reconciled as (

    select * from {{ ref('int_invoices__reconciled') }}

),

swapped as (

    select * from {{ ref('int_invoices__swapped') }}

),

charges as (

    select * from {{ ref('charges') }}

),

-- Corrections of usage that the vendor restated after the period of the line closed. They are billed in a later month, unless
-- the vendor credited the line or reissued the invoice.
restated as (

    select
        reconciled.provider,
        reconciled.billing_account,
        reconciled.invoice_id,
        reconciled.line_number,
        sum(charges.billed_cost) as correction_cost
    from reconciled
    inner join charges
        on reconciled.provider = charges.provider
        and reconciled.billing_account = charges.billing_account
        and reconciled.currency = charges.currency
        and reconciled.line in ('Usage', 'total', charges.sku_id)
        and charges.charge_class = 'Correction'
        and charges.corrects_month >= reconciled.billing_month
        and charges.corrects_month < reconciled.period_end
    where reconciled.status in ('over', 'under') and reconciled.invoice_id is not null
    group by reconciled.provider, reconciled.billing_account, reconciled.invoice_id, reconciled.line_number

),

{%- set reload = dbt.concat([
    "'run `meterhouse run '", 'reconciled.provider', "' --since DATE` with the date of period_start'",
]) %}

{%- set ends_before_last_of_month -%}
extract(month from period_end) <> extract(month from {{ later('day', 1, 'period_end') }})
{%- endset %}

{#- A total does not say what it is for. -#}
{%- set missing_in_total -%}
'Not loaded whole? Add what is missing: a fee to fees.csv, a price to prices.csv, credits to credit_grants.csv, or an account to accounts.csv.'
{%- endset %}

corrections as (

    select
        reconciled.*,
        swapped.comparison,
        coalesce(swapped.is_explained, false) as is_explained,
        coalesce(
            restated.correction_cost <> 0 and abs(reconciled.difference - restated.correction_cost) <= reconciled.tolerance, false
        ) as includes_restatement,
        coalesce(
            reconciled.invoice_id <> reconciled.main_invoice_id
            or reconciled.line_number <> reconciled.main_line_number,
            false
        ) as is_part,
        {{ dbt.concat([
            "'line '", 'cast(reconciled.main_line_number as ' ~ dbt.type_string() ~ ')', "' of invoice '",
            'reconciled.main_invoice_id',
        ]) }} as main_line,
        {{ reload }} as reload,
        {{ dbt.concat([
            "'run `meterhouse reopen '", 'reconciled.provider', "' '", 'reconciled.billing_account', "' '",
            'substring(' ~ date_text('reconciled.billing_month') ~ ', 1, 7)', "'`'",
        ]) }} as reopen,
        case
            when reconciled.charge_category = 'Credit' then 'Correct the amount of the credit in credit_grants.csv.'
            when reconciled.charge_category = 'Adjustment' then 'Correct the minimum in fees.csv.'
            when not reconciled.depends_on_usage
                then 'Correct the amount of the fee in fees.csv, or the cost of the credits in credit_grants.csv.'
            when abs(reconciled.price_variance) >= abs(reconciled.quantity_variance)
                then 'Add the unit price of the invoice to prices.csv, or the discount as a credit to credit_grants.csv.'
            when reconciled.quantity_variance > 0
                then 'Not loaded whole? Configure the key or organisation whose usage is not loaded, and add it to accounts.csv.'
            when reconciled.quantity_variance < 0
                then {{ dbt.concat([
                    "'The invoiced quantity is below the loaded quantity: '", reload, "', and ask the vendor.'",
                ]) }}
            when reconciled.status = 'over' and reconciled.line = 'total' then {{ missing_in_total }}
            when reconciled.status = 'over'
                then 'Not loaded whole? Add the missing price to prices.csv, or the missing key or organisation to accounts.csv.'
            else 'Add the contract price to prices.csv, or the discount or credit to credit_grants.csv.'
        end as correction
    from reconciled
    left join swapped
        on reconciled.provider = swapped.provider
        and reconciled.billing_account = swapped.billing_account
        and reconciled.invoice_id = swapped.invoice_id
        and reconciled.line_number = swapped.line_number
    left join restated
        on reconciled.provider = restated.provider
        and reconciled.billing_account = restated.billing_account
        and reconciled.invoice_id = restated.invoice_id
        and reconciled.line_number = restated.line_number

),

final as (

    select
        provider,
        billing_account,
        billing_month,
        period_start,
        period_end,
        invoice_id,
        line_number,
        line,
        computed,
        computed_high,
        invoiced,
        net,
        tax,
        computed_quantity,
        invoiced_quantity,
        quantity_variance,
        price_variance,
        cast(difference as numeric(28, 9)) as difference,
        cast(tolerance as numeric(28, 9)) as tolerance,
        currency,
        status,
        cast(case
            when is_part and status in ('matched', 'within tolerance')
                then {{ dbt.concat(["'Nothing to do: this line is part of '", 'main_line', "'.'"]) }}
            when is_part then {{ dbt.concat(["'This line is part of '", 'main_line', "': see there.'"]) }}
            when status in ('matched', 'within tolerance') and exceeds_usage and depends_on_usage
                then {{ dbt.concat([
                    "'Not loaded whole? The invoiced quantity exceeds the loaded quantity: '", 'reload', "', or ask the vendor.'",
                ]) }}
            when status in ('matched', 'within tolerance') then 'Nothing to do.'
            when status = 'not computed' then 'Nothing to do: taxes are not computed.'
            when status = 'month still open' then 'Wait until the month is over and loaded.'
            when status = 'draft'
                then 'Wait for the final invoice. Then set its status to issued and fill in issued_on, in invoices.csv.'
            when status = 'not loaded whole'
                then {{ dbt.concat(["'Load the period: '", 'reload', "'. The table usage_gaps lists missing days.'"]) }}
            when status = 'no invoices given' then 'Add the invoices of this vendor to invoices.csv to compare them.'
            when status = 'not invoiced yet' then 'Wait for the invoice, and add it to invoices.csv.'
            when status = 'missing invoice'
                then 'Add the invoice to invoices.csv, or the line that it lacks to invoice_lines.csv.'
            when status = 'currency mismatch'
                then 'Correct the currency of the invoice in invoices.csv, or that of the price, fee or credit in its file.'
            when status = 'missing usage' and not is_loaded
                then 'The line has no loaded account: add one to accounts.csv, or correct billing_account in invoices.csv.'
            when has_unpriced_usage and status <> 'under'
                then 'Add prices to prices.csv for the usage in the table unpriced_usage; unknown meters also need skus.csv.'
            when status = 'missing usage' and charge_category = 'Credit' then 'Add the credit to credit_grants.csv.'
            when status = 'missing usage' and charge_category = 'Adjustment' then 'Add the minimum to fees.csv.'
            when status = 'missing usage' and not depends_on_usage
                then 'Add the fee to fees.csv, or the purchase to credit_grants.csv, with a date in the period of the line.'
            when status = 'missing usage' and line = 'total' then {{ missing_in_total }}
            when status = 'missing usage'
                then 'Configure the key or organisation that used it, and add it to accounts.csv.'
            when computed is null
                then 'In invoice_lines.csv, give the credit note the sku_id and period of the line that it credits.'
            when includes_restatement
                then {{ dbt.concat(["'The invoice includes the restatement of the closed month: '", 'reopen', "'.'"]) }}
            when is_explained
                then {{ dbt.concat(['comparison', "' This explains both differences: ask the vendor for the quantity.'"]) }}
            when comparison is not null then {{ dbt.concat(['comparison', "' The rest: '", 'correction']) }}
            -- Printed invoices name their last day. It is a frequent mistake to copy it.
            when status = 'over' and depends_on_usage and {{ ends_before_last_of_month }}
                then {{ dbt.concat([
                    "'If the invoice includes '", date_text('period_end'), "', write the day after it as period_end. If not: '",
                    'correction',
                ]) }}
            when status = 'over' and net <= computed_high
                then 'A part may be billed as a more expensive SKU: all of it would cost computed_high. Ask the vendor for the quantity.'
            else correction
        end as {{ dbt.type_string() }}) as what_to_do,
        has_unpriced_usage
    from corrections

)

select * from final
