-- One row per charge, with the issued invoice line that covers it, and per tax or adjustment of an issued invoice line.

with

charges as (

    select * from {{ ref('charges') }}

),

covered as (

    select * from {{ ref('int_invoices__claims') }}
    where is_covered and status = 'issued'

),

adjustments as (

    select * from {{ ref('int_invoices__adjustments') }}

),

final as (

    {%- set null_text = 'cast(null as ' ~ dbt.type_string() ~ ')' %}
    {%- set null_number = 'cast(null as numeric(28, 9))' %}
    {%- set columns = [
        ('account', null_text), ('meter', null_text), ('sku_id', null_text), ('sku_price_id', null_text),
        ('tier_no', 'cast(null as integer)'), ('grant_id', null_text), ('charge_class', null_text),
        ('charge_frequency', "'One-Time'"), ('quantity', null_number), ('unit', null_text),
        ('list_unit_price', null_number), ('unit_price', null_number), ('list_cost', 'cost'), ('contracted_cost', 'cost'),
        ('billed_cost', 'cost'), ('effective_cost', 'cost'), ('is_complete', 'true'),
    ] %}

    select
        charges.charge_id,
        charges.provider,
        charges.billing_account,
        charges.charge_category,
        charges.charge_description,
        charges.charge_period_start,
        charges.charge_period_end,
        charges.billing_month,
        charges.currency,
        covered.invoice_id,
        covered.line_number,
        {%- for column, _ in columns %}
        charges.{{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from charges
    left join covered
        on charges.provider = covered.provider
        and charges.billing_account = covered.billing_account
        and charges.currency = covered.currency
        and charges.sku_id = covered.sku_id
        and charges.charge_category = covered.charge_category
        and charges.billed_on = covered.billed_on

    union all

    select
        charge_id,
        provider,
        billing_account,
        charge_category,
        charge_description,
        charge_period_start,
        charge_period_end,
        billing_month,
        currency,
        invoice_id,
        line_number,
        {%- for column, value in columns %}
        {{ value }} as {{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from adjustments

)

select * from final
