-- One row per provider, account, dimension, value, UTC date and unit.
-- Every dimension divides the same daily totals, meter by meter. The value '(unattributed)' holds what its other values lack
-- or exceed, so that each dimension adds up to the total: in quantity and, to the last decimal, in cost. If rows of a day
-- have no meter, all meters of that day are one total with the unit 'mixed'. Rows with a meter take their share of that
-- meter's cost first; the others share the rest, which is an estimate.
-- Longer than 200 lines: rows with a meter and rows without one are allocated in two steps.

{%- set day = ['provider', 'account', 'dimension', 'date'] | join(', ') %}

with

dimensioned as (

    select * from {{ ref('int_usage__by_dimension') }}

),

daily_totals as (

    select * from {{ ref('int_usage__daily_totals') }}

),

-- A complete dimension should hold all usage of its provider. A partial one holds only some meters, and the configuration of
-- an account decides which: those with at least one row.
scopes as (

    select distinct
        provider,
        account,
        dimension,
        case when not {{ is_complete_dimension('provider', 'dimension') }} then meter end as meter
    from dimensioned

),

expected as (

    select
        daily_totals.provider,
        daily_totals.account,
        scopes.dimension,
        daily_totals.date,
        daily_totals.meter,
        daily_totals.unit,
        daily_totals.quantity,
        daily_totals.billed_cost,
        daily_totals.effective_cost,
        daily_totals.currency
    from daily_totals
    inner join scopes
        on daily_totals.provider = scopes.provider
        and daily_totals.account = scopes.account
        and (daily_totals.meter = scopes.meter or scopes.meter is null)

),

mixed_days as (

    select distinct {{ day }}
    from dimensioned
    where meter is null

),

-- Ordered by a hash, because engines and collations order text differently.
metered as (

    select
        dimensioned.*,
        expected.quantity as total_quantity,
        expected.billed_cost,
        expected.effective_cost,
        expected.currency,
        sum(dimensioned.quantity) over (
            partition by
                dimensioned.provider, dimensioned.account, dimensioned.dimension, dimensioned.date, dimensioned.meter
            order by {{ dbt.hash('dimensioned.value') }}
            rows between unbounded preceding and current row
        ) as cumulative_quantity
    from dimensioned
    left join expected
        on dimensioned.provider = expected.provider
        and dimensioned.account = expected.account
        and dimensioned.dimension = expected.dimension
        and dimensioned.date = expected.date
        and dimensioned.meter = expected.meter
    where dimensioned.meter is not null

),

-- Effective cost mostly equals billed cost. Allocating it only where it differs halves the time.
metered_shares as (

    select
        {{ day }},
        meter,
        unit,
        value,
        quantity,
        case
            when total_quantity <> 0 then
                {{ allocated('billed_cost', 'cumulative_quantity', 'total_quantity') }}
                - {{ allocated('billed_cost', 'cumulative_quantity - quantity', 'total_quantity') }}
            when billed_cost is not null then 0
        end as billed_cost,
        case
            when total_quantity <> 0 and effective_cost <> billed_cost then
                {{ allocated('effective_cost', 'cumulative_quantity', 'total_quantity') }}
                - {{ allocated('effective_cost', 'cumulative_quantity - quantity', 'total_quantity') }}
        end as other_effective_cost,
        currency
    from metered

),

metered_parts as (

    select
        {{ day }},
        meter,
        unit,
        value,
        quantity,
        billed_cost,
        coalesce(other_effective_cost, billed_cost) as effective_cost,
        currency
    from metered_shares

),

-- The parts of a meter add up to its allocated cost, so the sums of meters give the remainder.
metered_sums as (

    select
        {{ day }},
        meter,
        max(unit) as unit,
        sum(quantity) as quantity,
        max(total_quantity) as total_quantity,
        max(billed_cost) as billed_cost,
        max(effective_cost) as effective_cost,
        max(currency) as currency
    from metered
    group by {{ day }}, meter

),

signed as (

    select
        {{ day }},
        meter,
        unit,
        quantity,
        billed_cost,
        effective_cost,
        currency
    from expected

    union all

    select
        {{ day }},
        meter,
        unit,
        -quantity as quantity,
        {% for cost in ['billed_cost', 'effective_cost'] -%}
        case
            when total_quantity <> 0 then -{{ allocated(cost, 'quantity', 'total_quantity') }}
            when {{ cost }} is not null then 0
        end as {{ cost }},
        {% endfor -%}
        currency
    from metered_sums

),

remainders as (

    select
        {{ day }},
        meter,
        max(unit) as unit,
        sum(quantity) as quantity,
        sum(billed_cost) as billed_cost,
        sum(effective_cost) as effective_cost,
        max(currency) as currency
    from signed
    group by {{ day }}, meter

),

-- From here on rows have a unit and no meter: the unit of their meters or, on mixed days, 'mixed'.
left_over as (

    select
        remainders.provider,
        remainders.account,
        remainders.dimension,
        remainders.date,
        case when mixed_days.date is not null then 'mixed' else remainders.unit end as unit,
        cast(sum(remainders.quantity) as numeric(28, 9)) as quantity,
        cast(sum(remainders.billed_cost) as numeric(28, 9)) as billed_cost,
        cast(sum(remainders.effective_cost) as numeric(28, 9)) as effective_cost,
        min(remainders.currency) as currency,
        max(remainders.currency) as other_currency
    from remainders
    left join mixed_days
        on remainders.provider = mixed_days.provider
        and remainders.account = mixed_days.account
        and remainders.dimension = mixed_days.dimension
        and remainders.date = mixed_days.date
    group by
        remainders.provider,
        remainders.account,
        remainders.dimension,
        remainders.date,
        case when mixed_days.date is not null then 'mixed' else remainders.unit end

),

unmetered as (

    select
        dimensioned.*,
        left_over.quantity as total_quantity,
        left_over.billed_cost,
        left_over.effective_cost,
        left_over.currency,
        left_over.other_currency,
        sum(dimensioned.quantity) over (
            partition by dimensioned.provider, dimensioned.account, dimensioned.dimension, dimensioned.date
            order by {{ dbt.hash('dimensioned.value') }}
            rows between unbounded preceding and current row
        ) as cumulative_quantity
    from dimensioned
    left join left_over
        on dimensioned.provider = left_over.provider
        and dimensioned.account = left_over.account
        and dimensioned.dimension = left_over.dimension
        and dimensioned.date = left_over.date
        and left_over.unit = 'mixed'
    where dimensioned.meter is null

),

unmetered_parts as (

    select
        {{ day }},
        'mixed' as unit,
        value,
        quantity,
        {% for measure in ['billed', 'effective'] -%}
        case
            when total_quantity <> 0 then
                {{ allocated(measure ~ '_cost', 'cumulative_quantity', 'total_quantity') }}
                - {{ allocated(measure ~ '_cost', 'cumulative_quantity - quantity', 'total_quantity') }}
            when {{ measure }}_cost is not null then 0
        end as {{ measure }}_cost,
        {% endfor -%}
        currency,
        other_currency
    from unmetered

),

unioned as (

    select
        metered_parts.provider,
        metered_parts.account,
        metered_parts.dimension,
        metered_parts.date,
        case when mixed_days.date is not null then 'mixed' else metered_parts.unit end as unit,
        metered_parts.value,
        metered_parts.quantity,
        metered_parts.billed_cost,
        metered_parts.effective_cost,
        metered_parts.currency,
        metered_parts.currency as other_currency,
        0 as is_remainder,
        0 as is_estimate
    from metered_parts
    left join mixed_days
        on metered_parts.provider = mixed_days.provider
        and metered_parts.account = mixed_days.account
        and metered_parts.dimension = mixed_days.dimension
        and metered_parts.date = mixed_days.date

    union all

    select
        {{ day }},
        unit,
        value,
        quantity,
        billed_cost,
        effective_cost,
        currency,
        other_currency,
        0 as is_remainder,
        1 as is_estimate
    from unmetered_parts

    union all

    select
        {{ day }},
        unit,
        '(unattributed)' as value,
        quantity,
        billed_cost,
        effective_cost,
        currency,
        other_currency,
        1 as is_remainder,
        0 as is_estimate
    from left_over

    union all

    select
        {{ day }},
        unit,
        '(unattributed)' as value,
        -quantity as quantity,
        -billed_cost as billed_cost,
        -effective_cost as effective_cost,
        currency,
        other_currency,
        1 as is_remainder,
        0 as is_estimate
    from unmetered_parts

),

by_value as (

    select
        {{ day }},
        unit,
        value,
        cast(sum(quantity) as numeric(28, 9)) as quantity,
        sum(billed_cost) as billed_cost,
        sum(effective_cost) as effective_cost,
        min(currency) as currency,
        max(other_currency) as other_currency,
        min(is_remainder) as is_remainder,
        max(is_estimate) as is_estimate
    from unioned
    group by {{ day }}, unit, value

),

-- Here the values of a unit add up to its daily total. A join is much faster than a window over five text columns.
totals as (

    select
        {{ day }},
        unit,
        cast(sum(quantity) as numeric(28, 9)) as total_quantity,
        min(currency) as lowest_currency,
        max(other_currency) as highest_currency
    from by_value
    group by {{ day }}, unit

),

totalled as (

    select
        by_value.*,
        totals.total_quantity,
        totals.lowest_currency,
        totals.highest_currency
    from by_value
    inner join totals
        on by_value.provider = totals.provider
        and by_value.account = totals.account
        and by_value.dimension = totals.dimension
        and by_value.date = totals.date
        and (by_value.unit = totals.unit or (by_value.unit is null and totals.unit is null))

),

final as (

    select
        provider,
        account,
        dimension,
        value,
        date,
        unit,
        quantity,
        {{ allocated('1', 'quantity', 'total_quantity') }} as share,
        cast(case when lowest_currency = highest_currency then billed_cost end as numeric(28, 9)) as allocated_cost,
        cast(
            case when lowest_currency = highest_currency then effective_cost end as numeric(28, 9)
        ) as allocated_effective_cost,
        case when lowest_currency = highest_currency and billed_cost is not null then currency end as currency,
        cast(
            case when is_remainder = 1 then 'unattributed' when is_estimate = 1 then 'estimated' else 'exact' end
            as {{ dbt.type_string() }}
        ) as attribution_method
    from totalled
    where is_remainder = 0 or quantity <> 0 or billed_cost <> 0 or effective_cost <> 0

)

select * from final
