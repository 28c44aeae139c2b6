-- One row per scenario and prepaid grant that expired before it was used up.
-- The price paid for the unused part is a cost of the day of expiry. The unused part is known only when all usage of the day
-- before is loaded, which is the last day on which usage can draw on the grant. In a forecast, it is known for the whole month.

with

granted as (

    select * from {{ ref('int_credits__granted') }}

),

drawn_credits as (

    select * from {{ ref('int_credits__drawn') }}

),

discounts as (

    select * from {{ ref('int_discounts__drawn') }}

),

accounts as (

    select * from {{ ref('int_accounts__completed') }}

),

days as (

    select * from {{ ref('int_days__covered') }}

),

scenarios as (

    select * from {{ ref('int_billing__scenarios') }}

),

drawn as (

    select
        scenario,
        provider,
        billing_account,
        grant_key,
        quantity,
        effective_cost
    from drawn_credits

    union all

    select
        scenario,
        provider,
        billing_account,
        grant_key,
        amount as quantity,
        effective_cost
    from discounts

),

drawn_in_all as (

    select
        scenario,
        provider,
        billing_account,
        grant_key,
        sum(quantity) as quantity,
        sum(effective_cost) as effective_cost
    from drawn
    group by scenario, provider, billing_account, grant_key

),

-- First condition: every account of the billing account is loaded up to the day of expiry.
{{ loaded_billing_accounts() }},

expiring as (

    select
        granted.*,
        {{ start_of_date(later('day', -1, 'granted.expires_on'), 'loaded.billing_timezone') }} as last_day_start,
        {{ start_of_date('granted.expires_on', 'loaded.billing_timezone') }} as last_day_end
    from granted
    inner join loaded
        on granted.provider = loaded.provider
        and granted.billing_account = loaded.billing_account
        and granted.expires_on <= loaded.complete_before
    where granted.is_prepaid

),

-- Second condition: no account lacks a part of the last day. A billing day can span two UTC dates. Usage before the first
-- requested date will never be loaded: a grant that expired before it counts as unused.
expired as (

    select
        expiring.provider,
        expiring.billing_account,
        expiring.grant_key
    from expiring
    inner join accounts
        on expiring.provider = accounts.provider
        and expiring.billing_account = accounts.billing_account
    left join days
        on accounts.provider = days.provider
        and accounts.account = days.account
        and {{ is_priced_table('days.provider', 'days.resource') }}
        and days.date >= cast(expiring.last_day_start as date)
        and days.date < expiring.last_day_end
    group by expiring.provider, expiring.billing_account, expiring.grant_key
    having min(case when coalesce(days.is_complete, true) then 1 else 0 end) = 1

),

expired_in_scenarios as (

    select
        'computed' as scenario,
        provider,
        billing_account,
        grant_key
    from expired

    union all

    select distinct
        scenarios.scenario,
        expired.provider,
        expired.billing_account,
        expired.grant_key
    from expired
    inner join scenarios
        on expired.provider = scenarios.provider
        and expired.billing_account = scenarios.billing_account
    where scenarios.forecast is null

    union all

    select
        scenarios.scenario,
        granted.provider,
        granted.billing_account,
        granted.grant_key
    from granted
    inner join scenarios
        on granted.provider = scenarios.provider
        and granted.billing_account = scenarios.billing_account
        and scenarios.forecast is not null
        and granted.expires_on >= scenarios.billing_month
        and granted.expires_on < cast({{ later('month', 1, 'scenarios.billing_month') }} as date)
    where granted.is_prepaid

),

final as (

    select
        cast(expired.scenario as {{ dbt.type_string() }}) as scenario,
        granted.provider,
        granted.billing_account,
        granted.grant_id,
        granted.grant_key,
        granted.unit,
        granted.expires_on,
        cast(granted.amount - coalesce(drawn_in_all.quantity, 0) as numeric(28, 9)) as quantity,
        granted.unit_cost,
        granted.list_unit_price,
        cast(granted.cost - coalesce(drawn_in_all.effective_cost, 0) as numeric(28, 9)) as effective_cost,
        granted.currency
    from granted
    inner join expired_in_scenarios as expired
        on granted.provider = expired.provider
        and granted.billing_account = expired.billing_account
        and granted.grant_key = expired.grant_key
    left join drawn_in_all
        on expired.scenario = drawn_in_all.scenario
        and granted.provider = drawn_in_all.provider
        and granted.billing_account = drawn_in_all.billing_account
        and granted.grant_key = drawn_in_all.grant_key
    where granted.amount <> coalesce(drawn_in_all.quantity, 0)

)

select * from final
