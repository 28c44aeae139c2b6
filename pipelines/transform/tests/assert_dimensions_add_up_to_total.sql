-- One row per provider, account, dimension, date and unit whose values do not add up to the usage, the billed cost and
-- the effective cost of that day. These are computed anew from the metered usage and the charges, not read from the models
-- behind the mart.

{%- set counts_requests = provider_has('provider', 'requests_by_dimension') %}

with

usage_by_dimension as (

    select * from {{ ref('usage_by_dimension') }}

),

metered_usage as (

    select * from {{ ref('int_usage__metered') }}

),

charges as (

    select * from {{ ref('charges') }}

),

dimensions as (

    select distinct
        provider,
        account,
        dimension
    from usage_by_dimension

),

mixed_days as (

    select distinct
        provider,
        account,
        dimension,
        date
    from usage_by_dimension
    where unit = 'mixed'

),

totals as (

    select
        provider,
        account,
        cast(bucket_start as date) as date,
        unit,
        quantity,
        0 as billed_cost,
        0 as effective_cost
    from metered_usage
    where
        timespan in ('hour', 'day')
        and not ({{ counts_requests }} and {{ is_unrated_meter('provider', 'meter') }})

    union all

    select
        provider,
        account,
        cast(bucket_start as date) as date,
        'request' as unit,
        request_count as quantity,
        0 as billed_cost,
        0 as effective_cost
    from metered_usage
    where {{ counts_requests }}

    union all

    select
        provider,
        account,
        cast(charge_period_start as date) as date,
        unit,
        0 as quantity,
        billed_cost,
        effective_cost
    from charges
    where
        charge_category = 'Usage'
        and charge_period_end <= {{ later('day', 1, 'cast(charge_period_start as date)') }}

),

sides as (

    select
        totals.provider,
        totals.account,
        dimensions.dimension,
        totals.date,
        case when mixed_days.date is not null then 'mixed' else coalesce(totals.unit, '') end as unit,
        totals.quantity,
        totals.billed_cost,
        totals.effective_cost,
        0 as is_cut
    from totals
    inner join dimensions
        on totals.provider = dimensions.provider
        and totals.account = dimensions.account
    left join mixed_days
        on totals.provider = mixed_days.provider
        and totals.account = mixed_days.account
        and dimensions.dimension = mixed_days.dimension
        and totals.date = mixed_days.date

    union all

    select
        provider,
        account,
        dimension,
        date,
        coalesce(unit, '') as unit,
        -quantity as quantity,
        -coalesce(allocated_cost, 0) as billed_cost,
        -coalesce(allocated_effective_cost, 0) as effective_cost,
        1 as is_cut
    from usage_by_dimension

),

-- A partial dimension need only add up in the units that it has.
cut_units as (

    select distinct
        provider,
        account,
        dimension,
        unit
    from sides
    where is_cut = 1 or {{ is_complete_dimension('provider', 'dimension') }}

),

-- Costs in two currencies cannot be added.
currencies as (

    select
        provider,
        account,
        min(currency) as currency,
        max(currency) as other_currency
    from charges
    where charge_category = 'Usage'
    group by provider, account

),

compared as (

    select
        sides.provider,
        sides.account,
        sides.dimension,
        sides.date,
        sides.unit,
        sum(sides.quantity) as missing_quantity,
        {%- for measure in ['billed', 'effective'] %}
        sum(
            case when currencies.currency = currencies.other_currency then sides.{{ measure }}_cost else 0 end
        ) as missing_{{ measure }}_cost{{ ',' if not loop.last }}
        {%- endfor %}
    from sides
    inner join cut_units
        on sides.provider = cut_units.provider
        and sides.account = cut_units.account
        and sides.dimension = cut_units.dimension
        and sides.unit = cut_units.unit
    left join currencies
        on sides.provider = currencies.provider
        and sides.account = currencies.account
    group by sides.provider, sides.account, sides.dimension, sides.date, sides.unit

),

final as (

    select * from compared
    where missing_quantity <> 0 or missing_billed_cost <> 0 or missing_effective_cost <> 0

)

select * from final
