-- One row per provider, account, date and meter: the total of the authoritative grouping, and its billed and effective cost.
-- Usage and charges of a week or month are left out, because they have no date. Where the dimensions of a provider count
-- requests beside the meters, requests have a total of their own, which includes the unrated ones.

{%- set counts_requests = provider_has('provider', 'requests_by_dimension') %}

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
    where
        timespan in ('hour', 'day')
        and not ({{ counts_requests }} and {{ is_unrated_meter('provider', 'meter') }})

    union all

    select
        provider,
        account,
        cast(bucket_start as date) as date,
        'requests' as meter,
        'request' as unit,
        request_count as quantity
    from metered_usage
    where timespan in ('hour', 'day') and {{ counts_requests }}

),

costs as (

    select
        provider,
        account,
        cast(charge_period_start as date) as date,
        meter,
        max(unit) as unit,
        sum(billed_cost) as billed_cost,
        sum(effective_cost) as effective_cost,
        min(currency) as currency,
        max(currency) as other_currency
    from charges
    where
        charge_category = 'Usage'
        and charge_period_end <= {{ later('day', 1, 'cast(charge_period_start as date)') }}
    group by provider, account, cast(charge_period_start as date), meter

),

-- A union instead of a join: a day whose usage the vendor withdrew may still have a charge or a correction.
unioned as (

    select
        provider,
        account,
        date,
        meter,
        unit,
        quantity,
        cast(null as numeric(28, 9)) as billed_cost,
        cast(null as numeric(28, 9)) as effective_cost,
        cast(null as {{ dbt.type_string() }}) as currency
    from measured

    union all

    -- Amounts in two currencies cannot be added.
    select
        provider,
        account,
        date,
        meter,
        unit,
        0 as quantity,
        case when currency = other_currency then billed_cost end as billed_cost,
        case when currency = other_currency then effective_cost end as effective_cost,
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
        cast(sum(effective_cost) as numeric(28, 9)) as effective_cost,
        max(currency) as currency
    from unioned
    group by provider, account, date, meter

)

select * from final
