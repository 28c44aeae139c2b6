-- One row per provider, account, date, currency and owner: the cost of the usage whose values are mapped to the owner.
-- The effective cost of a unit is divided like its billed cost or, if none of it is billed, by quantity.

{%- set unit_of_day = ['provider', 'account', 'dimension', 'date', 'unit', 'currency'] | join(', ') %}

with

owners as (

    select * from {{ ref('stg_billing__owners') }}
    where dimension is not null

),

usage_by_dimension as (

    select * from {{ ref('usage_by_dimension') }}
    where currency is not null

),

cost_daily as (

    select * from {{ ref('cost_daily') }}
    where charge_category = 'Usage'

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

effective_by_unit as (

    select
        provider,
        account,
        date,
        unit,
        currency,
        sum(effective_cost) as effective_cost
    from cost_daily
    group by provider, account, date, unit, currency

    union all

    select
        provider,
        account,
        date,
        'mixed' as unit,
        currency,
        sum(effective_cost) as effective_cost
    from cost_daily
    group by provider, account, date, currency

),

weighted as (

    select
        {{ unit_of_day }},
        value,
        allocated_cost,
        case
            when sum(allocated_cost) over (partition by {{ unit_of_day }}) <> 0 then allocated_cost
            else quantity
        end as weight
    from dimensioned

),

-- Ordered by a hash, because engines and collations order text differently.
cumulated as (

    select
        *,
        sum(weight) over (
            partition by {{ unit_of_day }}
            order by {{ dbt.hash('value') }}
            rows between unbounded preceding and current row
        ) as cumulative_weight,
        sum(weight) over (partition by {{ unit_of_day }}) as total_weight
    from weighted

),

costs as (

    select
        cumulated.provider,
        cumulated.account,
        cumulated.dimension,
        cumulated.date,
        cumulated.value,
        cumulated.currency,
        cumulated.allocated_cost as billed_cost,
        case
            when cumulated.total_weight <> 0 and effective_by_unit.effective_cost is not null then
                {{ allocated('effective_by_unit.effective_cost', 'cumulated.cumulative_weight', 'cumulated.total_weight') }}
                - {{ allocated(
                    'effective_by_unit.effective_cost', 'cumulated.cumulative_weight - cumulated.weight',
                    'cumulated.total_weight',
                ) }}
            else 0
        end as effective_cost
    from cumulated
    left join effective_by_unit
        on cumulated.provider = effective_by_unit.provider
        and cumulated.account = effective_by_unit.account
        and cumulated.date = effective_by_unit.date
        and cumulated.unit = effective_by_unit.unit
        and cumulated.currency = effective_by_unit.currency

),

final as (

    select
        costs.provider,
        costs.account,
        costs.date,
        costs.currency,
        mapped_values.team,
        mapped_values.cost_centre,
        cast(sum(costs.billed_cost) as numeric(28, 9)) as billed_cost,
        cast(sum(costs.effective_cost) as numeric(28, 9)) as effective_cost,
        min(coalesce(mapped_values.tags, '')) as lowest_tags,
        max(coalesce(mapped_values.tags, '')) as highest_tags
    from costs
    inner join mapped_values
        on costs.provider = mapped_values.provider
        and costs.account = mapped_values.account
        and costs.dimension = mapped_values.dimension
        and costs.value = mapped_values.value
        and costs.date >= mapped_values.valid_from
        and (mapped_values.valid_to is null or costs.date < mapped_values.valid_to)
    group by
        costs.provider, costs.account, costs.date, costs.currency, mapped_values.team, mapped_values.cost_centre

)

select * from final
