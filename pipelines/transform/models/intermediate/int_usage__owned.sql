-- One row per provider, account, date, currency and owner: the cost of the usage whose values are mapped to the owner.

with

owners as (

    select * from {{ ref('stg_billing__owners') }}
    where dimension is not null

),

usage_by_dimension as (

    select * from {{ ref('usage_by_dimension') }}
    where currency is not null

),

owned_dimensions as (

    select distinct dimension
    from owners

),

dimensioned as (

    select usage_by_dimension.*
    from usage_by_dimension
    inner join owned_dimensions
        on usage_by_dimension.dimension = owned_dimensions.dimension

),

named_values as (

    select distinct
        provider,
        account,
        dimension,
        value
    from dimensioned
    where value <> '(unattributed)'

),

-- Exact values and patterns apart, because engines join by equality fast.
mapped_values as (

    {% for comparison in [
        'not owners.is_pattern and named_values.value = owners.value',
        'owners.is_pattern and substring(named_values.value, 1, length(owners.value)) = owners.value',
    ] -%}
    select
        named_values.provider,
        named_values.account,
        named_values.dimension,
        named_values.value,
        owners.team,
        owners.cost_centre,
        owners.tags,
        owners.valid_from,
        owners.valid_to
    from named_values
    inner join owners
        on named_values.dimension = owners.dimension
        and {{ comparison }}
        and (owners.provider is null or owners.provider = named_values.provider)
        and (owners.account is null or owners.account = named_values.account)
    {%- if not loop.last %}

    union all

    {% endif -%}
    {%- endfor %}

),

final as (

    select
        dimensioned.provider,
        dimensioned.account,
        dimensioned.date,
        dimensioned.currency,
        mapped_values.team,
        mapped_values.cost_centre,
        cast(sum(dimensioned.allocated_cost) as numeric(28, 9)) as billed_cost,
        cast(sum(dimensioned.allocated_effective_cost) as numeric(28, 9)) as effective_cost,
        min(coalesce(mapped_values.tags, '')) as lowest_tags,
        max(coalesce(mapped_values.tags, '')) as highest_tags
    from dimensioned
    inner join mapped_values
        on dimensioned.provider = mapped_values.provider
        and dimensioned.account = mapped_values.account
        and dimensioned.dimension = mapped_values.dimension
        and dimensioned.value = mapped_values.value
        and dimensioned.date >= mapped_values.valid_from
        and (mapped_values.valid_to is null or dimensioned.date < mapped_values.valid_to)
    group by
        dimensioned.provider,
        dimensioned.account,
        dimensioned.date,
        dimensioned.currency,
        mapped_values.team,
        mapped_values.cost_centre

)

select * from final
