-- One row per provider, account, date and meter: the canonical total, of the authoritative grouping, and its billed cost.
-- What was loaded or charged by the week or month has no date. The requests of Reducto are a total of their own here,
-- because its groupings tell them beside the credits; they hold those that were not rated.

with

metered_usage as (

    select * from {{ ref('int_usage__metered') }}

),

charges as (

    select * from {{ ref('charges') }}

),

measured as (

    select
        provider,
        account,
        cast(bucket_start as date) as date,
        meter,
        unit,
        quantity
    from metered_usage
    where timespan in ('hour', 'day') and not (provider = 'reducto' and meter = 'unrated-requests')

    union all

    select
        provider,
        account,
        cast(bucket_start as date) as date,
        'requests' as meter,
        'request' as unit,
        request_count as quantity
    from metered_usage
    where timespan in ('hour', 'day') and provider = 'reducto'

),

costs as (

    select
        provider,
        account,
        cast(charge_period_start as date) as date,
        meter,
        max(unit) as unit,
        sum(billed_cost) as billed_cost,
        min(currency) as currency,
        max(currency) as other_currency
    from charges
    where
        charge_category = 'Usage'
        and charge_period_end <= {{ later('day', 1, 'cast(charge_period_start as date)') }}
    group by provider, account, cast(charge_period_start as date), meter

),

-- Together and not joined: a charge may be left, or corrected, of a day whose usage the vendor withdrew.
unioned as (

    select
        provider,
        account,
        date,
        meter,
        unit,
        quantity,
        cast(null as numeric(28, 9)) as billed_cost,
        cast(null as {{ dbt.type_string() }}) as currency
    from measured

    union all

    -- An amount in two currencies is none.
    select
        provider,
        account,
        date,
        meter,
        unit,
        0 as quantity,
        case when currency = other_currency then billed_cost end as billed_cost,
        case when currency = other_currency then currency end as currency
    from costs

),

final as (

    select
        provider,
        account,
        date,
        cast(meter as {{ dbt.type_string() }}) as meter,
        cast(max(unit) as {{ dbt.type_string() }}) as unit,
        cast(sum(coalesce(quantity, 0)) as numeric(28, 9)) as quantity,
        cast(sum(billed_cost) as numeric(28, 9)) as billed_cost,
        max(currency) as currency
    from unioned
    group by provider, account, date, meter

)

select * from final
