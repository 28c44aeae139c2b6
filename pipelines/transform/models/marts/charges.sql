-- One row per charge: usage of a bucket within one price tier and one credit grant, a fee, a purchase of credits, a credit,
-- an adjustment, or a correction.
-- A bucket that crosses a tier boundary is two charges, so that quantity times unit price is the cost in every row.
-- Closing freezes quantities, not prices: a closed period has the quantities that it was billed with, at the current prices,
-- credits and fees. A restatement of its quantities is a correction in a later month: the difference between two scenarios.

{%- set identity, measures = charge_identity(), charge_measures() %}
{%- set price = ['price_source', 'price_basis', 'price_valid_from', 'price_file', 'price_row'] %}

with

computed as (

    select * from {{ ref('int_charges__computed') }}

),

restatable as (

    select * from {{ ref('int_charges__restatable') }}

),

corrected as (

    select * from {{ ref('int_charges__corrected') }}

),

{%- set columns = ['charge_id'] + identity + ['billing_month', 'billed_on'] + measures + ['unit', 'currency', 'is_complete'] %}

unioned as (

    select
        {% for column in columns + price + ['list_unit_price', 'unit_price'] %}computed.{{ column }},
        {% endfor -%}
        cast(null as {{ dbt.type_string() }}) as charge_class,
        cast(null as date) as corrects_month,
        cast(null as {{ type_utc() }}) as discovered_at,
        cast(null as numeric(28, 9)) as quantity_before,
        cast(null as numeric(28, 9)) as quantity_after
    from computed
    left join restatable
        on computed.charge_id = restatable.charge_id
        and computed.scenario = restatable.scenario
    where computed.scenario = 'computed' and restatable.is_billed is null

    union all

    select
        {{ (columns + price + ['list_unit_price', 'unit_price']) | join(',\n        ') }},
        cast(null as {{ dbt.type_string() }}) as charge_class,
        cast(null as date) as corrects_month,
        cast(null as {{ type_utc() }}) as discovered_at,
        cast(null as numeric(28, 9)) as quantity_before,
        cast(null as numeric(28, 9)) as quantity_after
    from restatable
    where is_billed

    union all

    select
        {{ (columns + price) | join(',\n        ') }},
        null as list_unit_price,
        null as unit_price,
        'Correction' as charge_class,
        corrects_month,
        discovered_at,
        quantity_before,
        quantity_after
    from corrected

),

final as (

    select
        cast(charge_id as {{ dbt.type_string() }}) as charge_id,
        provider,
        billing_account,
        account,
        meter,
        sku_id,
        sku_price_id,
        tier_no,
        grant_id,
        charge_category,
        cast(charge_class as {{ dbt.type_string() }}) as charge_class,
        charge_frequency,
        cast(charge_description as {{ dbt.type_string() }}) as charge_description,
        charge_period_start,
        charge_period_end,
        billing_month,
        billed_on,
        cast(quantity as numeric(28, 9)) as quantity,
        unit,
        cast(list_unit_price as numeric(28, 9)) as list_unit_price,
        cast(unit_price as numeric(28, 9)) as unit_price,
        cast(list_cost as numeric(28, 9)) as list_cost,
        cast(contracted_cost as numeric(28, 9)) as contracted_cost,
        cast(billed_cost as numeric(28, 9)) as billed_cost,
        cast(effective_cost as numeric(28, 9)) as effective_cost,
        currency,
        is_complete,
        price_source,
        price_basis,
        price_valid_from,
        price_file,
        price_row,
        cast(corrects_month as date) as corrects_month,
        discovered_at,
        cast(quantity_before as numeric(28, 9)) as quantity_before,
        cast(quantity_after as numeric(28, 9)) as quantity_after
    from unioned

)

select * from final
