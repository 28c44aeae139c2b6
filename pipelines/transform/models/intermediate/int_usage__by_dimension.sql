-- One row per provider, account, dimension, value, date and meter.
-- Every dimension cuts the same usage again. Pick one; never add two of them up.

{%- set providers = providers_with('dimensions') %}

with

{% for provider in providers -%}
{{ provider }} as (

    select * from {{ ref('int_' ~ provider ~ '__by_dimension') }}

),

{% endfor -%}

skus as (

    select * from {{ ref('int_skus__mapped') }}

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
            when {{ provider_has('unioned.provider', 'requests_by_dimension') }} and unioned.meter = 'requests' then 'request'
            else skus.unit
        end as unit,
        cast(unioned.quantity as numeric(28, 9)) as quantity
    from unioned
    left join skus
        on unioned.provider = skus.provider
        and unioned.meter = skus.meter

)

select * from final
