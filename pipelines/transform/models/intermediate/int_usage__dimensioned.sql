-- One row per provider, account, dimension, value, date and meter.
-- Every dimension is the whole usage again, cut differently: whoever reads this picks one and never adds two of them up.

{%- set providers = ['mathpix', 'reducto', 'onepin', 'scopix'] %}

with

{% for provider in providers -%}
{{ provider }} as (

    select * from {{ ref('int_' ~ provider ~ '__dimensioned') }}

),

{% endfor -%}

sku_map as (

    select * from {{ ref('sku_map') }}

),

unioned as (

    {% for provider in providers -%}
    select
        '{{ provider }}' as provider,
        account,
        dimension,
        value,
        date,
        meter,
        quantity
    from {{ provider }}
    {%- if not loop.last %}

    union all

    {% endif -%}
    {%- endfor %}

),

final as (

    select
        cast(unioned.provider as {{ dbt.type_string() }}) as provider,
        unioned.account,
        cast(unioned.dimension as {{ dbt.type_string() }}) as dimension,
        cast(unioned.value as {{ dbt.type_string() }}) as value,
        unioned.date,
        cast(unioned.meter as {{ dbt.type_string() }}) as meter,
        case
            when unioned.provider = 'reducto' and unioned.meter = 'requests' then 'request'
            else sku_map.unit
        end as unit,
        cast(unioned.quantity as numeric(28, 9)) as quantity
    from unioned
    left join sku_map
        on unioned.provider = sku_map.provider
        and unioned.meter = sku_map.meter

)

select * from final
