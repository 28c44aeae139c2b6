-- One row per tax or adjustment of an issued invoice line. An adjustment is the difference between a line that matches and
-- its computed charges, such as rounding or a credit note. FOCUS lists both beside the charges, so that its costs add up to
-- the invoice.

with

reconciled as (

    select * from {{ ref('int_invoices__reconciled') }}
    where invoice_status = 'issued'

),

months as (

    select * from {{ ref('int_billing__months') }}

),

unioned as (

    select
        *,
        'Adjustment' as category,
        amount - coalesce(billed_cost, 0) as remainder
    from reconciled
    where status in ('matched', 'within tolerance')

    union all

    select
        *,
        'Tax' as category,
        tax as remainder
    from reconciled

),

zoned as (

    select
        unioned.*,
        coalesce(months.billing_timezone, 'UTC') as billing_timezone
    from unioned
    left join months
        on unioned.provider = months.provider
        and unioned.billing_account = months.billing_account
        and unioned.billing_month = months.billing_month
    where unioned.remainder <> 0

),

{%- set line_number = 'cast(line_number as ' ~ dbt.type_string() ~ ')' %}

final as (

    select
        {{ dbt.hash(dbt.concat([
            'category', "'|'", 'provider', "'|'", 'billing_account', "'|'", 'invoice_id', "'|'", line_number,
        ])) }} as charge_id,
        provider,
        billing_account,
        invoice_id,
        line_number,
        cast(category as {{ dbt.type_string() }}) as charge_category,
        {{ dbt.concat(['category', "' of invoice '", 'invoice_id', "', line '", line_number]) }} as charge_description,
        {{ start_of_date('period_start', 'billing_timezone') }} as charge_period_start,
        {{ start_of_date('period_end', 'billing_timezone') }} as charge_period_end,
        billing_month,
        cast(remainder as numeric(28, 9)) as cost,
        currency
    from zoned

)

select * from final
