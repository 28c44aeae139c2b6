-- One row per comparison, provider, account and meter or SKU with different totals on the two sides.

{%- set within_a_day = 'charge_period_end <= ' ~ later('day', 1, 'cast(charge_period_start as date)') -%}

{%- set sides = [
    ('usage of hours', 1, ref('int_usage__metered'), 'meter', 'quantity', "timespan = 'hour'"),
    ('usage of hours', -1, ref('usage_hourly'), 'meter', 'quantity', 'true'),
    ('usage of days', 1, ref('int_usage__metered'), 'meter', 'quantity', "timespan in ('hour', 'day')"),
    ('usage of days', -1, ref('usage_daily'), 'meter', 'quantity', 'true'),
    ('cost of days', 1, ref('charges'), 'sku_id', 'billed_cost', within_a_day),
    ('cost of days', -1, ref('cost_daily'), 'sku_id', 'billed_cost', 'true'),
    ('cost of months', 1, ref('charges'), 'sku_id', 'billed_cost', 'true'),
    ('cost of months', -1, ref('cost_monthly'), 'sku_id', 'billed_cost', 'true'),
] %}

with

sides as (

    {% for comparison, sign, relation, item, amount, condition in sides -%}
    select
        '{{ comparison }}' as comparison,
        provider,
        account,
        {{ item }} as item,
        {{ sign }} * {{ amount }} as amount
    from {{ relation }}
    where {{ condition }}
    {%- if not loop.last %}
    union all
    {% endif -%}
    {%- endfor %}

),

final as (

    select
        comparison,
        provider,
        account,
        item,
        sum(amount) as difference
    from sides
    group by comparison, provider, account, item
    having sum(amount) <> 0

)

select * from final
