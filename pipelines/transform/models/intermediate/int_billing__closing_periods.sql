-- One row per period that this build closes: one of `int_billing__closable_periods` whose invoice has no line for usage that exceeds
-- what is computed for it by more than the tolerance. Otherwise usage may be missing, and the invoice closes nothing.

{%- set tolerance = "cast(" ~ var('reconciliation_tolerance') ~ " as numeric(28, 9))" %}
{%- set fraction = "cast(" ~ var('reconciliation_tolerance_fraction') ~ " as numeric(28, 9))" %}

with

closable as (

    select * from {{ ref('int_billing__closable_periods') }}

),

priced_usage as (

    select * from {{ ref('int_usage__priced') }}

),

charges as (

    select * from {{ ref('charges') }}

),

invoice_lines as (

    select * from {{ ref('int_invoices__lines') }}
    where status = 'issued'

),

skus as (

    select * from {{ ref('int_skus__mapped') }}

),

closable_accounts as (

    select distinct
        provider,
        billing_account
    from closable

),

closable_lines as (

    select distinct
        provider,
        billing_account,
        invoice_id,
        line_number
    from closable

),

covering_lines as (

    select * from invoice_lines
    where covers_charges

),

daily as (

    select
        charges.provider,
        charges.billing_account,
        charges.billed_on,
        charges.charge_category,
        charges.sku_id,
        charges.currency,
        sum(charges.billed_cost) as amount,
        sum(charges.quantity) as quantity
    from charges
    inner join closable_accounts
        on charges.provider = closable_accounts.provider
        and charges.billing_account = closable_accounts.billing_account
    group by
        charges.provider, charges.billing_account, charges.billed_on, charges.charge_category, charges.sku_id, charges.currency

    union all

    select
        priced_usage.provider,
        priced_usage.billing_account,
        priced_usage.billing_date as billed_on,
        'Usage' as charge_category,
        coalesce(priced_usage.sku_id, '') as sku_id,
        cast(null as {{ dbt.type_string() }}) as currency,
        0 as amount,
        sum(priced_usage.quantity) as quantity
    from priced_usage
    inner join closable_accounts
        on priced_usage.provider = closable_accounts.provider
        and priced_usage.billing_account = closable_accounts.billing_account
    where priced_usage.scenario = 'computed' and not priced_usage.is_priced
    group by priced_usage.provider, priced_usage.billing_account, priced_usage.billing_date, priced_usage.sku_id

),

-- The most specific line covers a charge. Its currency does not matter here: a typing error must not leave a month open.
claimed as (

    select
        daily.*,
        covering_lines.invoice_id,
        covering_lines.line_number,
        covering_lines.currency as line_currency,
        row_number() over (
            partition by
                daily.provider, daily.billing_account, daily.billed_on, daily.charge_category, daily.sku_id, daily.currency
            order by covering_lines.specificity desc, covering_lines.invoice_id, covering_lines.line_number
        ) as preference
    from daily
    inner join covering_lines
        on daily.provider = covering_lines.provider
        and daily.billing_account = covering_lines.billing_account
        and daily.billed_on >= covering_lines.period_start
        and daily.billed_on < covering_lines.period_end
        and (
            covering_lines.specificity = 1
            or (covering_lines.specificity = 2 and daily.charge_category = covering_lines.charge_category)
            or (covering_lines.specificity = 3 and daily.sku_id = covering_lines.sku_id)
        )

),

computed as (

    select
        provider,
        billing_account,
        invoice_id,
        line_number,
        sum(case when currency = line_currency then amount else 0 end) as amount,
        sum(quantity) as quantity,
        count(case when currency = line_currency then 1 end) as with_its_currency,
        count(case when currency <> line_currency then 1 end) as with_another_currency
    from claimed
    where preference = 1
    group by provider, billing_account, invoice_id, line_number

),

-- Credit notes reduce the line that they are for.
invoiced as (

    select
        provider,
        billing_account,
        main_invoice_id as invoice_id,
        main_line_number as line_number,
        sum(amount) as amount,
        sum(quantity) as quantity
    from invoice_lines
    group by provider, billing_account, main_invoice_id, main_line_number

),

sku_units as (

    select
        provider,
        sku_id,
        min(unit) as unit
    from skus
    where sku_id is not null
    group by provider, sku_id

),

compared as (

    select
        covering_lines.provider,
        covering_lines.billing_account,
        covering_lines.invoice_id,
        coalesce(computed.amount, 0) as computed,
        coalesce(computed.quantity, 0) as computed_quantity,
        coalesce(computed.with_its_currency, 0) = 0 and coalesce(computed.with_another_currency, 0) > 0 as is_in_other_currency,
        invoiced.amount,
        case
            when coalesce(nullif(covering_lines.unit, ''), sku_units.unit) = sku_units.unit then invoiced.quantity
        end as quantity
    from covering_lines
    inner join closable_lines
        on covering_lines.provider = closable_lines.provider
        and covering_lines.billing_account = closable_lines.billing_account
        and covering_lines.invoice_id = closable_lines.invoice_id
        and covering_lines.line_number = closable_lines.line_number
    inner join invoiced
        on covering_lines.provider = invoiced.provider
        and covering_lines.billing_account = invoiced.billing_account
        and covering_lines.invoice_id = invoiced.invoice_id
        and covering_lines.line_number = invoiced.line_number
    left join sku_units
        on covering_lines.specificity = 3
        and covering_lines.provider = sku_units.provider
        and covering_lines.sku_id = sku_units.sku_id
    left join computed
        on covering_lines.provider = computed.provider
        and covering_lines.billing_account = computed.billing_account
        and covering_lines.invoice_id = computed.invoice_id
        and covering_lines.line_number = computed.line_number

),

not_whole as (

    select distinct
        provider,
        billing_account,
        invoice_id,
        true as is_short
    from compared
    where
        case
            when quantity is not null then quantity - computed_quantity > {{ fraction }} * abs(computed_quantity)
            when is_in_other_currency then false
            else amount - computed > greatest({{ tolerance }}, {{ fraction }} * abs(computed))
        end

),

final as (

    select closable.*
    from closable
    left join not_whole
        on closable.provider = not_whole.provider
        and closable.billing_account = not_whole.billing_account
        and closable.invoice_id = not_whole.invoice_id
    where not_whole.is_short is null

)

select * from final
