-- One row per scenario and charge for credits: a purchase, credits that expire unused, or a day's use of a free monetary
-- credit.
-- A purchase does not depend on usage and has only the scenario `computed`.

with

granted as (

    select * from {{ ref('int_credits__granted') }}

),

discounts as (

    select * from {{ ref('int_discounts__drawn') }}

),

expired as (

    select * from {{ ref('int_credits__expired') }}

),

months as (

    select * from {{ ref('int_billing__months') }}

),

-- A prepayment has no effective cost: it is amortised over usage, and over the credits that expire unused.
priced_grants as (

    select
        granted.*,
        months.billing_month,
        months.month_end,
        granted.unit_cost * granted.amount = granted.cost as has_unit_cost
    from granted
    inner join months
        on granted.provider = months.provider
        and granted.billing_account = months.billing_account
        and granted.starts_on >= months.billing_month
        and granted.starts_on < months.next_month
    where granted.cost <> 0

),

purchases as (

    select
        'computed' as scenario,
        provider,
        billing_account,
        {{ dbt.concat(['provider', "'/credits/'", 'grant_id']) }} as sku_id,
        case when has_unit_cost then {{ dbt.concat(['provider', "'/credits/'", 'grant_id']) }} end as sku_price_id,
        grant_key,
        grant_id,
        'Purchase' as charge_category,
        case when is_recurring then 'Recurring' else 'One-Time' end as charge_frequency,
        {{ dbt.concat(['kind', "' credits '", 'grant_id']) }} as charge_description,
        cast(starts_on as {{ type_utc() }}) as charge_period_start,
        coalesce(cast(expires_on as {{ type_utc() }}), month_end) as charge_period_end,
        billing_month,
        starts_on as billed_on,
        amount as quantity,
        unit,
        coalesce(list_unit_price, case when has_unit_cost then unit_cost end) as list_unit_price,
        case when has_unit_cost then unit_cost end as unit_price,
        coalesce(amount * list_unit_price, cost) as list_cost,
        cost as contracted_cost,
        cost as billed_cost,
        case when is_prepaid then 0 else cost end as effective_cost,
        currency,
        true as is_complete
    from priced_grants

),

-- Credits that expire unused are usage without an account. Their list price is the public price on the day of the purchase.
unused as (

    select
        expired.scenario,
        expired.provider,
        expired.billing_account,
        {{ dbt.concat(['expired.provider', "'/credits/'", 'expired.grant_id']) }} as sku_id,
        {{ dbt.concat(['expired.provider', "'/credits/'", 'expired.grant_id']) }} as sku_price_id,
        expired.grant_key,
        expired.grant_id,
        'Usage' as charge_category,
        'One-Time' as charge_frequency,
        {{ dbt.concat(["'unused credits of '", 'expired.grant_id']) }} as charge_description,
        cast(expired.expires_on as {{ type_utc() }}) as charge_period_start,
        {{ later('day', 1, 'cast(expired.expires_on as ' ~ type_utc() ~ ')') }} as charge_period_end,
        months.billing_month,
        expired.expires_on as billed_on,
        expired.quantity,
        expired.unit,
        coalesce(expired.list_unit_price, expired.unit_cost) as list_unit_price,
        expired.unit_cost as unit_price,
        expired.quantity * coalesce(expired.list_unit_price, expired.unit_cost) as list_cost,
        expired.quantity * expired.unit_cost as contracted_cost,
        0 as billed_cost,
        expired.effective_cost,
        expired.currency,
        true as is_complete
    from expired
    inner join months
        on expired.provider = months.provider
        and expired.billing_account = months.billing_account
        and expired.expires_on >= months.billing_month
        and expired.expires_on < months.next_month

),

-- A free monetary credit has one charge per day on which usage draws on it, so that an invoice for part of a month covers its
-- own days. The charge period is that date in UTC, as for a purchase: `cost_daily` includes only charges within a UTC day.
daily_discounts as (

    select
        scenario,
        provider,
        billing_account,
        billing_month,
        billing_date,
        grant_id,
        grant_key,
        kind,
        currency,
        sum(amount) as amount,
        min(case when is_complete then 1 else 0 end) = 1 as is_complete
    from discounts
    where not is_prepaid and not is_earlier
    group by scenario, provider, billing_account, billing_month, billing_date, grant_id, grant_key, kind, currency
    having sum(amount) <> 0

),

credits as (

    select
        discounts.scenario,
        discounts.provider,
        discounts.billing_account,
        {{ dbt.concat(['discounts.provider', "'/credits/'", 'discounts.grant_id']) }} as sku_id,
        cast(null as {{ dbt.type_string() }}) as sku_price_id,
        discounts.grant_key,
        discounts.grant_id,
        'Credit' as charge_category,
        'One-Time' as charge_frequency,
        {{ dbt.concat(['discounts.kind', "' credit '", 'discounts.grant_id']) }} as charge_description,
        cast(discounts.billing_date as {{ type_utc() }}) as charge_period_start,
        {{ later('day', 1, 'cast(discounts.billing_date as ' ~ type_utc() ~ ')') }} as charge_period_end,
        discounts.billing_month,
        discounts.billing_date as billed_on,
        1 as quantity,
        'credit' as unit,
        cast(null as numeric(28, 9)) as list_unit_price,
        cast(null as numeric(28, 9)) as unit_price,
        -discounts.amount as list_cost,
        -discounts.amount as contracted_cost,
        -discounts.amount as billed_cost,
        -discounts.amount as effective_cost,
        discounts.currency,
        discounts.is_complete
    from daily_discounts as discounts

),

final as (

    select * from purchases
    union all
    select * from unused
    union all
    select * from credits

)

select * from final
