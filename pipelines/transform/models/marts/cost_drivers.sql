-- One row per change, dimension, value, unit and currency. A complete month is compared with the month before, and an anomaly
-- with the last normal day of its weekday.
-- The dimension `sku` has all cost; fees and credits of a billing account have rows without an account. The other dimensions have
-- allocated cost. The rows of a dimension add up.
-- `volume_change` is the change of the quantity, at the former average price of the unit. `price_change` is the change of the
-- value's own price (list prices, contracts, tiers and credits), at the present quantity. `mix_change` is the rest: values that
-- cost more or less than the average are used more or less.
-- Longer than 200 lines: months and days are compared in the same way, by SKU and by dimension.

{%- set costs = ['billed', 'effective'] %}
{%- set change = ['period', 'provider', 'billing_account', 'account', 'date', 'compared_with'] %}
{%- set group = change + ['dimension', 'unit', 'currency'] %}

with

usage_by_dimension as (

    select * from {{ ref('usage_by_dimension') }}

),

cost_monthly as (

    select * from {{ ref('cost_monthly') }}

),

cost_daily as (

    select * from {{ ref('cost_daily') }}

),

trends as (

    select * from {{ ref('usage_trends_daily') }}

),

accounts as (

    select * from {{ ref('accounts') }}

),

calendar as (

    {{ calendar() }}

),

-- Fees and credits of a billing account are compared if all its cost of both months is complete, also if one month has none.
months as (

    select
        provider,
        billing_account,
        account,
        billing_month as date
    from cost_monthly
    where account <> ''
    group by provider, billing_account, account, billing_month
    having min(case when is_complete then 1 else 0 end) = 1

    union all

    select
        provider,
        billing_account,
        '' as account,
        billing_month as date
    from cost_monthly
    group by provider, billing_account, billing_month
    having min(case when is_complete then 1 else 0 end) = 1

),

days as (

    select
        trends.provider,
        accounts.billing_account,
        trends.account,
        trends.date,
        max(case when trends.is_anomaly then 1 else 0 end) as is_anomaly,
        min(case when trends.is_complete then 1 else 0 end) as is_complete
    from trends
    inner join accounts
        on trends.provider = accounts.provider
        and trends.account = accounts.account
    group by trends.provider, accounts.billing_account, trends.account, trends.date

),

-- An anomaly is compared with the last normal day of its weekday in the 8 weeks before.
changes as (

    select
        'month' as period,
        months.provider,
        months.billing_account,
        months.account,
        months.date,
        months_before.date as compared_with
    from months
    inner join months as months_before
        on months.provider = months_before.provider
        and months.billing_account = months_before.billing_account
        and months.account = months_before.account
        and months_before.date = cast({{ later('month', -1, 'months.date') }} as date)

    union all

    select
        'day' as period,
        anomalies.provider,
        anomalies.billing_account,
        anomalies.account,
        anomalies.date,
        max(days_before.date) as compared_with
    from days as anomalies
    inner join days as days_before
        on anomalies.provider = days_before.provider
        and anomalies.account = days_before.account
        and days_before.date < anomalies.date
        and days_before.date >= cast({{ later('day', -56, 'anomalies.date') }} as date)
        and days_before.is_complete = 1
        and days_before.is_anomaly = 0
        and mod({{ dbt.datediff('days_before.date', 'anomalies.date', 'day') }}, 7) = 0
    where anomalies.is_anomaly = 1
    group by anomalies.provider, anomalies.billing_account, anomalies.account, anomalies.date

),

-- The days of the two sides of each change.
sides as (

    {% for day, is_after in [('date', 1), ('compared_with', 0)] -%}
    select
        changes.*,
        calendar.date as day,
        changes.{{ day }} as first_day,
        {{ is_after }} as is_after
    from changes
    inner join calendar
        on cast({{ dbt.date_trunc('month', 'changes.' ~ day) }} as date) = calendar.month
        and (changes.period = 'month' or changes.{{ day }} = calendar.date)
    {%- if not loop.last %}

    union all

    {% endif -%}
    {%- endfor %}

),

{%- set measures = ['quantity', 'billed_cost', 'effective_cost'] %}

-- An amount without a `period` counts for months and for days.
amounts as (

    {% for period, relation, date in [('month', 'cost_monthly', 'billing_month'), ('day', 'cost_daily', 'date')] -%}
    select
        '{{ period }}' as period,
        provider,
        billing_account,
        account,
        {{ date }} as day,
        'sku' as dimension,
        sku_id as value,
        unit,
        currency,
        quantity,
        billed_cost,
        effective_cost
    from {{ relation }}

    union all

    {% endfor -%}
    select
        cast(null as {{ dbt.type_string() }}) as period,
        usage_by_dimension.provider,
        accounts.billing_account,
        usage_by_dimension.account,
        usage_by_dimension.date as day,
        usage_by_dimension.dimension,
        usage_by_dimension.value,
        usage_by_dimension.unit,
        usage_by_dimension.currency,
        usage_by_dimension.quantity,
        usage_by_dimension.allocated_cost as billed_cost,
        usage_by_dimension.allocated_effective_cost as effective_cost
    from usage_by_dimension
    inner join accounts
        on usage_by_dimension.provider = accounts.provider
        and usage_by_dimension.account = accounts.account

),

compared as (

    select
        {% for column in change %}sides.{{ column }},
        {% endfor -%}
        amounts.dimension,
        amounts.value,
        amounts.unit,
        amounts.currency
        {%- for measure in measures %},
        sum(case when sides.is_after = 1 then coalesce(amounts.{{ measure }}, 0) else 0 end) as {{ measure }},
        sum(case when sides.is_after = 0 then coalesce(amounts.{{ measure }}, 0) else 0 end) as {{ measure }}_before
        {%- endfor %}
    from amounts
    inner join sides
        on amounts.provider = sides.provider
        and amounts.billing_account = sides.billing_account
        and amounts.account = sides.account
        and amounts.day = sides.day
        and (amounts.period is null or (amounts.period = sides.period and sides.day = sides.first_day))
    group by
        {% for column in change %}sides.{{ column }}, {% endfor %}
        amounts.dimension, amounts.value, amounts.unit, amounts.currency

),

totalled as (

    select
        *,
        min(currency) over (partition by {{ change | join(', ') }}, dimension) as lowest_currency
        {%- for measure in measures %},
        sum({{ measure }}_before) over (partition by {{ group | join(', ') }}) as total_{{ measure }}_before
        {%- endfor %}
    from compared

),

-- A cost without a quantity is all price. A new value is compared with the average price; a new unit has none, so it is all volume.
divided_changes as (

    select
        *
        {%- for cost in costs %},
        case
            when quantity = 0 and quantity_before = 0 then 0
            when total_quantity_before = 0 then {{ cost }}_cost - {{ cost }}_cost_before
            else {{ allocated('total_' ~ cost ~ '_cost_before', 'quantity - quantity_before', 'total_quantity_before') }}
        end as {{ cost }}_volume_change,
        case
            when quantity = 0 and quantity_before = 0 then {{ cost }}_cost - {{ cost }}_cost_before
            when total_quantity_before = 0 then 0
            when quantity_before = 0
                then
                    {{ cost }}_cost
                    - {{ allocated('total_' ~ cost ~ '_cost_before', 'quantity', 'total_quantity_before') }}
            else {{ cost }}_cost - {{ allocated(cost ~ '_cost_before', 'quantity', 'quantity_before') }}
        end as {{ cost }}_price_change
        {%- endfor %}
    from totalled

),

-- Usage without cost has no currency. It is ranked in the alphabetically first currency of its dimension.
ranked as (

    select
        *,
        row_number() over (
            partition by {{ change | join(', ') }}, dimension, coalesce(currency, lowest_currency)
            order by
                abs(effective_cost - effective_cost_before) desc, abs(billed_cost - billed_cost_before) desc,
                abs(quantity - quantity_before) desc, value, unit
        ) as position
    from divided_changes
    where
        quantity <> 0
        or quantity_before <> 0
        or billed_cost <> 0
        or billed_cost_before <> 0
        or effective_cost <> 0
        or effective_cost_before <> 0

),

placed as (

    select
        {{ change | join(',\n        ') }},
        dimension,
        case when position <= {{ var('drivers_per_dimension') }} then value else '(other)' end as value,
        unit,
        currency,
        min(position) as position
        {%- for measure in measures %},
        sum({{ measure }}) as {{ measure }},
        sum({{ measure }}_before) as {{ measure }}_before
        {%- endfor %}
        {%- for cost in costs %},
        sum({{ cost }}_cost - {{ cost }}_cost_before) as {{ cost }}_change,
        sum({{ cost }}_volume_change) as {{ cost }}_volume_change,
        sum({{ cost }}_price_change) as {{ cost }}_price_change
        {%- endfor %}
    from ranked
    group by
        {{ change | join(', ') }},
        dimension,
        case when position <= {{ var('drivers_per_dimension') }} then value else '(other)' end,
        unit,
        currency

),

final as (

    select
        cast(period as {{ dbt.type_string() }}) as period,
        provider,
        cast(billing_account as {{ dbt.type_string() }}) as billing_account,
        cast(account as {{ dbt.type_string() }}) as account,
        date,
        compared_with,
        cast(dimension as {{ dbt.type_string() }}) as dimension,
        cast(value as {{ dbt.type_string() }}) as value,
        cast(position as integer) as position,
        unit,
        cast(quantity_before as numeric(28, 9)) as quantity_before,
        cast(quantity as numeric(28, 9)) as quantity
        {%- for cost, prefix in [('billed', ''), ('effective', 'effective_')] %},
        cast({{ cost }}_cost_before as numeric(28, 9)) as {{ cost }}_cost_before,
        cast({{ cost }}_cost as numeric(28, 9)) as {{ cost }}_cost,
        cast({{ cost }}_change as numeric(28, 9)) as {{ prefix }}change,
        cast({{ cost }}_volume_change as numeric(28, 9)) as {{ prefix }}volume_change,
        cast({{ cost }}_price_change as numeric(28, 9)) as {{ prefix }}price_change,
        cast({{ cost }}_change - {{ cost }}_volume_change - {{ cost }}_price_change as numeric(28, 9))
            as {{ prefix }}mix_change
        {%- endfor %},
        currency
    from placed

)

select * from final
