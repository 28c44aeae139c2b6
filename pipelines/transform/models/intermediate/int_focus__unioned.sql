-- One row per charge, with the issued invoice line that covers it, and per tax or adjustment of an issued invoice line.

with

charges as (

    select * from {{ ref('charges') }}

),

invoiced as (

    select * from {{ ref('int_charges__invoiced') }}
    where status = 'issued'

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
        invoiced.invoice_id,
        invoiced.line_number,
        {%- for column, _ in columns %}
        charges.{{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from charges
    left join invoiced
        on charges.charge_id = invoiced.charge_id

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
