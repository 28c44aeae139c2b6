-- One row per provider, billing account, unit, currency and date on which the balance of credit grants changes.
-- A grant adds to the balance; usage that draws on it and its expiry reduce it. `currency` is that of the price paid;
-- null for grants without a price.

with

granted as (

    select * from {{ ref('int_credits__granted') }}

),

parts as (

    select * from {{ ref('int_usage__split_by_grant') }}
    where scenario = 'computed' and unit = 'credit' and grant_key is not null

),

discounts as (

    select * from {{ ref('int_discounts__drawn') }}
    where scenario = 'computed'

),

expired as (

    select * from {{ ref('int_credits__expired') }}
    where scenario = 'computed'

),

drawn as (

    select
        provider,
        billing_account,
        grant_key,
        billing_date as date,
        quantity,
        grant_cost as effective_cost
    from parts

    union all

    select
        provider,
        billing_account,
        grant_key,
        billing_date as date,
        amount as quantity,
        effective_cost
    from discounts

),

drawn_daily as (

    select
        granted.provider,
        granted.billing_account,
        granted.unit,
        granted.grant_key,
        granted.currency,
        granted.expires_on,
        drawn.date,
        sum(drawn.quantity) as quantity,
        sum(drawn.effective_cost) as effective_cost
    from drawn
    inner join granted
        on drawn.provider = granted.provider
        and drawn.billing_account = granted.billing_account
        and drawn.grant_key = granted.grant_key
    group by
        granted.provider, granted.billing_account, granted.unit, granted.grant_key, granted.currency, granted.expires_on,
        drawn.date

),

{% set columns = 'provider, billing_account, unit, currency' -%}

-- The running sum of `used` is the usage of the grants that are valid on the day, so an expiry subtracts all usage of the
-- grant.
changes as (

    select
        {{ columns }},
        starts_on as date,
        amount as granted,
        0 as used,
        0 as drawn,
        case when is_prepaid then cost else 0 end as cost
    from granted

    union all

    select
        {{ columns }},
        expires_on as date,
        -amount as granted,
        0 as used,
        0 as drawn,
        0 as cost
    from granted
    where expires_on is not null

    union all

    select
        {{ columns }},
        date,
        0 as granted,
        quantity as used,
        quantity as drawn,
        -effective_cost as cost
    from drawn_daily

    union all

    select
        {{ columns }},
        expires_on as date,
        0 as granted,
        -quantity as used,
        0 as drawn,
        0 as cost
    from drawn_daily
    where expires_on is not null

    union all

    select
        {{ columns }},
        expires_on as date,
        0 as granted,
        0 as used,
        0 as drawn,
        -effective_cost as cost
    from expired

),

final as (

    select
        provider,
        billing_account,
        unit,
        cast(currency as {{ dbt.type_string() }}) as currency,
        date,
        cast(sum(granted) as numeric(28, 9)) as granted,
        cast(sum(used) as numeric(28, 9)) as used,
        cast(sum(drawn) as numeric(28, 9)) as drawn,
        cast(sum(cost) as numeric(28, 9)) as cost
    from changes
    group by provider, billing_account, unit, currency, date

)

select * from final
