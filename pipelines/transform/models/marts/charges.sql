-- One row per charge: usage of a bucket within one price tier and one credit grant, a fee, a purchase of credits, a credit,
-- an adjustment, or a correction.
-- A bucket that crosses a tier boundary is two charges, so that quantity times unit price is the cost in every row.
-- Closing freezes quantities, not prices: a closed period has the quantities that it was billed with, at the current prices,
-- credits and fees. A restatement of its quantities is a correction in a later month: the difference between two scenarios.
-- The rates into the reporting currency are those of the day on which the charged period starts. A closed period keeps the
-- rates that were loaded when it closed. If there was none, it takes the first one that was loaded later. Free usage
-- needs no rate.
-- Longer than 200 lines: charges are also converted here, where the day that decides their rate is known.

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

fx_rates as (

    select * from {{ ref('stg_billing__fx_rates') }}

),

closed_periods as (

    select * from {{ ref('int_billing__closed_periods') }}
    where reopened_at is null

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
{%- if reporting_currency() %}

dated as (

    select
        *,
        cast(charge_period_start as date) as fx_day,
        case when charge_class = 'Correction' then cast(charge_period_start as date) else billed_on end as closed_day
    from unioned

),

{%- set day = ['provider', 'billing_account', 'account', 'meter', 'closed_day', 'fx_day', 'currency'] %}

-- Charges without a meter, such as fees, close with the first meter of their month.
days as (

    select
        {% for column in day %}dated.{{ column }},
        {% endfor -%}
        min(closed_periods.closed_at) as closed_at
    from (select distinct {{ day | join(', ') }} from dated) as dated
    left join closed_periods
        on dated.provider = closed_periods.provider
        and dated.billing_account = closed_periods.billing_account
        and dated.account in ('', closed_periods.account)
        and (closed_periods.meter in ('', dated.meter) or dated.meter = '')
        and dated.closed_day >= closed_periods.period_start
        and dated.closed_day < closed_periods.period_end
    group by {% for column in day %}dated.{{ column }}{{ ', ' if not loop.last }}{% endfor %}

),

-- `known_later` is when a rate was loaded that was not loaded at closing. Rates that were loaded at closing take precedence.
applicable as (

    select
        days.currency,
        days.fx_day,
        days.closed_at,
        fx_rates.date as fx_date,
        fx_rates.rate as fx_rate,
        case when fx_rates.loaded_at > days.closed_at then fx_rates.loaded_at end as known_later
    from (select distinct currency, fx_day, closed_at from days) as days
    inner join fx_rates
        on days.currency = fx_rates.currency
        and days.fx_day >= fx_rates.date
        and days.fx_day < cast({{ later('day', var('fx_rate_days'), 'fx_rates.date') }} as date)
        and (fx_rates.superseded_at is null or fx_rates.superseded_at > days.closed_at)

),

ranked as (

    select
        *,
        row_number() over (
            partition by currency, fx_day, closed_at
            order by case when known_later is null then 0 else 1 end, known_later, fx_date desc
        ) as preference
    from applicable

),

priced_days as (

    select
        {% for column in day %}days.{{ column }},
        {% endfor -%}
        cast(case when days.currency = '{{ reporting_currency() }}' then 1 else ranked.fx_rate end as {{ type_rate() }})
            as fx_rate,
        case when days.currency <> '{{ reporting_currency() }}' then ranked.fx_date end as fx_date
    from days
    left join ranked
        on days.currency = ranked.currency
        and days.fx_day = ranked.fx_day
        and (days.closed_at = ranked.closed_at or (days.closed_at is null and ranked.closed_at is null))
        and ranked.preference = 1

),

converted as (

    select
        dated.*,
        '{{ reporting_currency() }}' as reporting_currency,
        {%- for measure, column in [('billed_cost', 'reporting_cost'), ('effective_cost', 'reporting_effective_cost')] %}
        cast(case
            when dated.billed_cost = 0 and dated.effective_cost = 0 then 0
            else dated.{{ measure }} * priced_days.fx_rate
        end as numeric(28, 9)) as {{ column }},
        {%- endfor %}
        priced_days.fx_rate,
        priced_days.fx_date
    from dated
    left join priced_days
        on {% for column in day %}dated.{{ column }} = priced_days.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}

),
{%- endif %}

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
        {{- select_reporting('charged') }},
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
    from {{ 'converted' if reporting_currency() else 'unioned' }} as charged

)

select * from final
