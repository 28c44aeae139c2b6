-- One row per provider, billing account and date, from the first credit grant to the last loaded day.

with

granted as (

    select * from {{ ref('int_credits__granted') }}

),

parts as (

    select * from {{ ref('int_usage__split_by_grant') }}

),

expired as (

    select * from {{ ref('int_credits__expired') }}
    where scenario = 'computed'

),

accounts as (

    select * from {{ ref('int_accounts__completed') }}

),

numbers as (

    {{ dbt.generate_series(10000) }}

),

grants as (

    select * from granted
    where unit = 'credit'

),

used as (

    select
        provider,
        billing_account,
        billing_date as date,
        grant_key,
        sum(quantity) as quantity
    from parts
    where scenario = 'computed' and unit = 'credit'
    group by provider, billing_account, billing_date, grant_key

),

last_days as (

    select
        provider,
        billing_account,
        max(complete_before_billing_date) as last_date
    from accounts
    group by provider, billing_account

),

spans as (

    select
        grants.provider,
        grants.billing_account,
        min(grants.starts_on) as first_date,
        last_days.last_date
    from grants
    inner join last_days
        on grants.provider = last_days.provider
        and grants.billing_account = last_days.billing_account
    group by grants.provider, grants.billing_account, last_days.last_date

),

days as (

    select
        spans.provider,
        spans.billing_account,
        cast({{ later('day', 'cast(numbers.generated_number as integer) - 1', 'spans.first_date') }} as date) as date
    from spans
    inner join numbers
        on numbers.generated_number <= {{ dbt.datediff('spans.first_date', 'spans.last_date', 'day') }} + 1

),

granted_daily as (

    select
        days.provider,
        days.billing_account,
        days.date,
        sum(grants.amount) as granted
    from days
    inner join grants
        on days.provider = grants.provider
        and days.billing_account = grants.billing_account
        and days.date >= grants.starts_on
        and (days.date < grants.expires_on or grants.expires_on is null)
    group by days.provider, days.billing_account, days.date

),

-- Usage of the grants that are valid on the day. Usage of expired grants no longer matters.
used_until as (

    select
        days.provider,
        days.billing_account,
        days.date,
        sum(used.quantity) as used
    from days
    inner join grants
        on days.provider = grants.provider
        and days.billing_account = grants.billing_account
        and days.date >= grants.starts_on
        and (days.date < grants.expires_on or grants.expires_on is null)
    inner join used
        on grants.provider = used.provider
        and grants.billing_account = used.billing_account
        and grants.grant_key = used.grant_key
        and used.date <= days.date
    group by days.provider, days.billing_account, days.date

),

used_daily as (

    select
        provider,
        billing_account,
        date,
        sum(quantity) as quantity,
        sum(case when grant_key is null then quantity else 0 end) as overage
    from used
    group by provider, billing_account, date

),

-- Changes of the unamortised cost: purchases add to it, usage and expiry reduce it.
cost_changes as (

    select
        provider,
        billing_account,
        currency,
        starts_on as date,
        cost as amount
    from grants
    where is_prepaid

    union all

    select
        provider,
        billing_account,
        grant_currency as currency,
        billing_date as date,
        -grant_cost as amount
    from parts
    where scenario = 'computed' and unit = 'credit' and grant_cost <> 0

    union all

    select
        provider,
        billing_account,
        currency,
        expires_on as date,
        -effective_cost as amount
    from expired
    where unit = 'credit'

),

currencies as (

    select distinct
        provider,
        billing_account,
        currency
    from cost_changes

),

cost_changes_daily as (

    select
        provider,
        billing_account,
        currency,
        date,
        sum(amount) as amount
    from cost_changes
    group by provider, billing_account, currency, date

),

cost_balances as (

    select
        days.provider,
        days.billing_account,
        days.date,
        currencies.currency,
        sum(coalesce(cost_changes_daily.amount, 0)) over (
            partition by days.provider, days.billing_account, currencies.currency
            order by days.date
            rows between unbounded preceding and current row
        ) as cost
    from days
    inner join currencies
        on days.provider = currencies.provider
        and days.billing_account = currencies.billing_account
    left join cost_changes_daily
        on days.provider = cost_changes_daily.provider
        and days.billing_account = cost_changes_daily.billing_account
        and currencies.currency = cost_changes_daily.currency
        and days.date = cost_changes_daily.date

),

-- Balances in two currencies cannot be added up.
cost_balances_daily as (

    select
        provider,
        billing_account,
        date,
        case when count(nullif(cost, 0)) <= 1 then sum(cost) end as cost,
        case
            when count(nullif(cost, 0)) <= 1 then coalesce(max(case when cost <> 0 then currency end), max(currency))
        end as currency,
        count(nullif(cost, 0)) as balances
    from cost_balances
    group by provider, billing_account, date

),

daily as (

    select
        days.provider,
        days.billing_account,
        days.date,
        coalesce(granted_daily.granted, 0) as granted,
        coalesce(used_until.used, 0) as used,
        coalesce(used_daily.quantity, 0) as used_on_date,
        coalesce(used_daily.overage, 0) as overage,
        case when coalesce(cost_balances_daily.balances, 0) <= 1 then coalesce(cost_balances_daily.cost, 0) end
            as remaining_cost,
        cost_balances_daily.currency
    from days
    left join granted_daily
        on days.provider = granted_daily.provider
        and days.billing_account = granted_daily.billing_account
        and days.date = granted_daily.date
    left join used_until
        on days.provider = used_until.provider
        and days.billing_account = used_until.billing_account
        and days.date = used_until.date
    left join used_daily
        on days.provider = used_daily.provider
        and days.billing_account = used_daily.billing_account
        and days.date = used_daily.date
    left join cost_balances_daily
        on days.provider = cost_balances_daily.provider
        and days.billing_account = cost_balances_daily.billing_account
        and days.date = cost_balances_daily.date

),

-- The average of the 28 days before, or of as many as there are. The day itself may still be running.
rated as (

    select
        *,
        sum(used_on_date) over (
            partition by provider, billing_account order by date rows between 28 preceding and 1 preceding
        ) as used_before,
        count(*) over (
            partition by provider, billing_account order by date rows between 28 preceding and 1 preceding
        ) as days_before
    from daily

),

final as (

    select
        provider,
        cast(billing_account as {{ dbt.type_string() }}) as account,
        date,
        cast('credit' as {{ dbt.type_string() }}) as unit,
        cast(granted as numeric(28, 9)) as granted,
        cast(used as numeric(28, 9)) as used,
        cast(granted - used as numeric(28, 9)) as remaining,
        cast(used_on_date as numeric(28, 9)) as used_on_date,
        cast(overage as numeric(28, 9)) as overage,
        cast(case
            when used_before > 0
                then {{ divided('cast((granted - used) * days_before as numeric(38, 9))', 'used_before') }}
        end as numeric(28, 9)) as days_left,
        cast(remaining_cost as numeric(28, 9)) as remaining_cost,
        cast(currency as {{ dbt.type_string() }}) as currency
    from rated

)

select * from final
