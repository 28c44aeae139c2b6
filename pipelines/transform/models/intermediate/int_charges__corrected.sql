-- One row per correction: a charge of a closed period whose cost a restatement changes, and the day on which the change is
-- billed. A correction is the difference between two scenarios, both at the current prices, credits and fees.

{%- set identity, measures = charge_identity(), charge_measures() %}

with

restatable as (

    select * from {{ ref('int_charges__restatable') }}

),

scenarios as (

    select * from {{ ref('int_billing__scenarios') }}
    where forecast is null

),

restated as (

    select * from {{ ref('int_usage__restated') }}

),

sides as (

    {% for side, sign in [('adds_on', 1), ('subtracts_on', -1)] -%}
    select
        charge_id,
        {{ identity | join(',\n        ') }},
        billing_month as corrects_month,
        {{ side }} as billed_on,
        {%- for measure in measures %}
        {{ sign }} * {{ measure }} as {{ measure }},
        {%- endfor %}
        {{ 'quantity' if sign == -1 else '0' }} as quantity_before,
        {{ 'quantity' if sign == 1 else '0' }} as quantity_after,
        unit,
        currency,
        is_complete
    from restatable
    where {{ side }} is not null
    {%- if not loop.last %}

    union all

    {% endif -%}
    {%- endfor %}

),

differences as (

    select
        charge_id,
        {%- for column in identity %}
        max({{ column }}) as {{ column }},
        {%- endfor %}
        max(corrects_month) as corrects_month,
        billed_on,
        {%- for measure in measures + ['quantity_before', 'quantity_after'] %}
        sum({{ measure }}) as {{ measure }},
        {%- endfor %}
        max(unit) as unit,
        currency,
        min(case when is_complete then 1 else 0 end) = 1 as is_complete
    from sides
    group by charge_id, billed_on, currency
    having
        {%- for measure in measures %}
        sum({{ measure }}) <> 0{{ ' or' if not loop.last }}
        {%- endfor %}

),

-- The restatements that a day's corrections are for. Usage that was not restated can change in cost, too, because the
-- restated usage draws other credits or fills other tiers.
landed as (

    select
        restated.*,
        coalesce(restated.corrected_on, scenarios.subtracts_on) as billed_on
    from restated
    inner join scenarios
        on restated.provider = scenarios.provider
        and restated.billing_account = scenarios.billing_account
        and restated.billing_month = scenarios.billing_month
        and scenarios.scenario <> 'computed'
        and (
            restated.corrected_on = scenarios.corrected_on
            or (restated.corrected_on is null and scenarios.corrected_on is null)
        )

),

discovered as (

    select
        provider,
        billing_account,
        billed_on,
        max(discovered_at) as discovered_at
    from landed
    group by provider, billing_account, billed_on

),

-- Credits may carry a restatement to a later month, whose corrections are billed later.
last_discovered as (

    select
        differences.charge_id,
        differences.billed_on,
        differences.currency,
        max(discovered.discovered_at) as discovered_at
    from differences
    inner join discovered
        on differences.provider = discovered.provider
        and differences.billing_account = discovered.billing_account
        and differences.billed_on >= discovered.billed_on
    group by differences.charge_id, differences.billed_on, differences.currency

),

final as (

    select
        {{ dbt.concat([
            'differences.charge_id', "'-correction-'", date_text('differences.billed_on'), "'-'", 'differences.currency',
        ]) }} as charge_id,
        {%- for column in identity if column != 'charge_description' %}
        differences.{{ column }},
        {%- endfor %}
        {{ dbt.concat(["'Correction: '", 'differences.charge_description']) }} as charge_description,
        cast({{ dbt.date_trunc('month', 'differences.billed_on') }} as date) as billing_month,
        differences.billed_on,
        {%- for measure in measures + ['quantity_before', 'quantity_after'] %}
        cast(differences.{{ measure }} as numeric(28, 9)) as {{ measure }},
        {%- endfor %}
        differences.unit,
        differences.currency,
        differences.is_complete,
        differences.corrects_month,
        coalesce(landed.discovered_at, last_discovered.discovered_at) as discovered_at,
        {{ without_price() }}
    from differences
    left join landed
        on differences.provider = landed.provider
        and differences.account = landed.account
        and differences.meter = landed.meter
        and differences.charge_period_start = landed.bucket_start
        and differences.charge_period_end = landed.bucket_end
        and differences.billed_on = landed.billed_on
    left join last_discovered
        on differences.charge_id = last_discovered.charge_id
        and differences.billed_on = last_discovered.billed_on
        and differences.currency = last_discovered.currency

)

select * from final
