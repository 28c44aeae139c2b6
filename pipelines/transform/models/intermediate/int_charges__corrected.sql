-- One row per correction: a charge of a closed period whose cost a restatement changes, and the day on which the change is
-- billed. A correction is the difference between two scenarios, both at the current prices, credits and fees.

{%- set identity, measures = charge_identity(), charge_measures() %}

with

restatable as (

    select * from {{ ref('int_charges__restatable') }}

),

restated as (

    select * from {{ ref('int_usage__restated') }}

),

sides as (

    {% for side, sign, first_no, end_no in [
        ('adds_on', 1, 'previous_interval_no', 'interval_no'), ('subtracts_on', -1, 'interval_no', 'next_interval_no'),
    ] -%}
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
        is_complete,
        {{ first_no }} as first_no,
        {{ end_no }} as end_no
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
        min(case when is_complete then 1 else 0 end) = 1 as is_complete,
        min(first_no) as first_no,
        max(end_no) as end_no
    from sides
    group by charge_id, billed_on, currency
    having
        {%- for measure in measures %}
        sum({{ measure }}) <> 0{{ ' or' if not loop.last }}
        {%- endfor %}

),

discovered as (

    select
        differences.charge_id,
        differences.billed_on,
        differences.currency,
        max(restated.discovered_at) as discovered_at
    from differences
    inner join restated
        on differences.provider = restated.provider
        and differences.account = restated.account
        and differences.meter = restated.meter
        and differences.charge_period_start = restated.bucket_start
        and differences.charge_period_end = restated.bucket_end
        and restated.interval_no >= differences.first_no
        and restated.interval_no < differences.end_no
    group by differences.charge_id, differences.billed_on, differences.currency

),

last_of_interval as (

    select
        provider,
        billing_account,
        interval_no,
        max(discovered_at) as discovered_at
    from restated
    group by provider, billing_account, interval_no

),

-- Usage that was not restated can change in cost, too, because the restated usage draws other credits or fills other tiers.
last_discovered as (

    select
        differences.charge_id,
        differences.billed_on,
        differences.currency,
        max(last_of_interval.discovered_at) as discovered_at
    from differences
    inner join last_of_interval
        on differences.provider = last_of_interval.provider
        and differences.billing_account = last_of_interval.billing_account
        and last_of_interval.interval_no >= differences.first_no
        and last_of_interval.interval_no < differences.end_no
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
        coalesce(discovered.discovered_at, last_discovered.discovered_at) as discovered_at,
        {{ without_price() }}
    from differences
    left join discovered
        on differences.charge_id = discovered.charge_id
        and differences.billed_on = discovered.billed_on
        and differences.currency = discovered.currency
    left join last_discovered
        on differences.charge_id = last_discovered.charge_id
        and differences.billed_on = last_discovered.billed_on
        and differences.currency = last_discovered.currency

)

select * from final
