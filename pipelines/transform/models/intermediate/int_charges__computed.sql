-- One row per charge computed from the data loaded now, regardless of earlier bills.

with

credited_usage as (

    select * from {{ ref('int_usage__credited') }}

),

fees as (

    select * from {{ ref('int_fees__charged') }}

),

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

-- Usage that a prepaid monetary credit pays for is not billed again. A free monetary credit is a charge of its own.
usage_charges as (

    select
        provider,
        billing_account,
        account,
        meter,
        sku_id,
        sku_price_id,
        tier_no,
        grant_key,
        grant_id,
        list_sku_price_id,
        'Usage' as charge_category,
        'Usage-Based' as charge_frequency,
        meter as charge_description,
        bucket_start as charge_period_start,
        bucket_end as charge_period_end,
        billing_month,
        billing_date as billed_on,
        quantity,
        unit,
        list_unit_price,
        unit_price,
        list_cost,
        contracted_cost,
        billed_cost - prepaid as billed_cost,
        effective_cost - prepaid + prepaid_cost as effective_cost,
        currency,
        is_complete,
        price_source,
        price_basis,
        price_valid_from,
        price_file,
        price_row
    from credited_usage

),

-- Fees, purchases and credits have amounts of their own, and no price from a list or a contract.
fee_charges as (

    select
        provider,
        billing_account,
        '' as account,
        '' as meter,
        {{ dbt.concat(['provider', "'/fee/'", 'fee_id']) }} as sku_id,
        case when kind <> 'minimum' then {{ dbt.concat(['provider', "'/fee/'", 'fee_id']) }} end as sku_price_id,
        cast(null as integer) as tier_no,
        cast(null as {{ dbt.type_string() }}) as grant_key,
        cast(null as {{ dbt.type_string() }}) as grant_id,
        cast(null as {{ dbt.type_string() }}) as list_sku_price_id,
        case when kind = 'minimum' then 'Adjustment' else 'Purchase' end as charge_category,
        case when kind = 'one_time' then 'One-Time' else 'Recurring' end as charge_frequency,
        coalesce(description, fee_id) as charge_description,
        charge_period_start,
        charge_period_end,
        billing_month,
        billed_on,
        1 as quantity,
        'fee' as unit,
        amount as list_unit_price,
        amount as unit_price,
        amount as list_cost,
        amount as contracted_cost,
        amount as billed_cost,
        amount as effective_cost,
        currency,
        is_complete,
        {{ without_price() }}
    from fees

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
        provider,
        billing_account,
        '' as account,
        '' as meter,
        {{ dbt.concat(['provider', "'/credits/'", 'grant_id']) }} as sku_id,
        case when has_unit_cost then {{ dbt.concat(['provider', "'/credits/'", 'grant_id']) }} end as sku_price_id,
        cast(null as integer) as tier_no,
        grant_key,
        grant_id,
        cast(null as {{ dbt.type_string() }}) as list_sku_price_id,
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
        true as is_complete,
        {{ without_price() }}
    from priced_grants

),

-- Credits that expire unused are usage without an account. Their list price is the public price on the day of the purchase.
unused as (

    select
        expired.provider,
        expired.billing_account,
        '' as account,
        '' as meter,
        {{ dbt.concat(['expired.provider', "'/credits/'", 'expired.grant_id']) }} as sku_id,
        {{ dbt.concat(['expired.provider', "'/credits/'", 'expired.grant_id']) }} as sku_price_id,
        cast(null as integer) as tier_no,
        expired.grant_key,
        expired.grant_id,
        cast(null as {{ dbt.type_string() }}) as list_sku_price_id,
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
        true as is_complete,
        {{ without_price() }}
    from expired
    inner join months
        on expired.provider = months.provider
        and expired.billing_account = months.billing_account
        and expired.expires_on >= months.billing_month
        and expired.expires_on < months.next_month

),

-- A monetary credit is one charge per month that draws on it. A month that gave back all that it drew has no charge.
monthly_discounts as (

    select
        provider,
        billing_account,
        billing_month,
        grant_id,
        grant_key,
        kind,
        currency,
        sum(amount) as amount,
        min(case when is_complete then 1 else 0 end) = 1 as is_complete
    from discounts
    where not is_prepaid
    group by provider, billing_account, billing_month, grant_id, grant_key, kind, currency
    having sum(amount) <> 0

),

credits as (

    select
        discounts.provider,
        discounts.billing_account,
        '' as account,
        '' as meter,
        {{ dbt.concat(['discounts.provider', "'/credits/'", 'discounts.grant_id']) }} as sku_id,
        cast(null as {{ dbt.type_string() }}) as sku_price_id,
        cast(null as integer) as tier_no,
        discounts.grant_key,
        discounts.grant_id,
        cast(null as {{ dbt.type_string() }}) as list_sku_price_id,
        'Credit' as charge_category,
        'One-Time' as charge_frequency,
        {{ dbt.concat(['discounts.kind', "' credit '", 'discounts.grant_id']) }} as charge_description,
        months.month_start as charge_period_start,
        months.month_end as charge_period_end,
        discounts.billing_month,
        discounts.billing_month as billed_on,
        1 as quantity,
        'credit' as unit,
        cast(null as numeric(28, 9)) as list_unit_price,
        cast(null as numeric(28, 9)) as unit_price,
        -discounts.amount as list_cost,
        -discounts.amount as contracted_cost,
        -discounts.amount as billed_cost,
        -discounts.amount as effective_cost,
        discounts.currency,
        discounts.is_complete,
        {{ without_price() }}
    from monthly_discounts as discounts
    inner join months
        on discounts.provider = months.provider
        and discounts.billing_account = months.billing_account
        and discounts.billing_month = months.billing_month

),

unioned as (

    select * from usage_charges
    union all
    select * from fee_charges
    union all
    select * from purchases
    union all
    select * from unused
    union all
    select * from credits

),

-- The key of a usage charge leaves out the billing account, because the account may move to another one.
final as (

    select
        {{ dbt.hash(dbt.concat([
            'charge_category', "'|'", 'provider', "'|'", "case when account = '' then billing_account else '' end", "'|'",
            'account', "'|'", 'meter', "'|'", 'sku_id', "'|'", "coalesce(sku_price_id, '')", "'|'",
            "coalesce(list_sku_price_id, '')", "'|'", "coalesce(grant_key, '')", "'|'",
            'cast(charge_period_start as ' ~ dbt.type_string() ~ ')', "'|'",
            'cast(charge_period_end as ' ~ dbt.type_string() ~ ')',
        ])) }} as charge_id,
        cast(provider as {{ dbt.type_string() }}) as provider,
        cast(billing_account as {{ dbt.type_string() }}) as billing_account,
        cast(account as {{ dbt.type_string() }}) as account,
        cast(meter as {{ dbt.type_string() }}) as meter,
        cast(sku_id as {{ dbt.type_string() }}) as sku_id,
        cast(sku_price_id as {{ dbt.type_string() }}) as sku_price_id,
        cast(tier_no as integer) as tier_no,
        cast(grant_id as {{ dbt.type_string() }}) as grant_id,
        cast(charge_category as {{ dbt.type_string() }}) as charge_category,
        cast(charge_frequency as {{ dbt.type_string() }}) as charge_frequency,
        cast(charge_description as {{ dbt.type_string() }}) as charge_description,
        cast(charge_period_start as {{ type_utc() }}) as charge_period_start,
        cast(charge_period_end as {{ type_utc() }}) as charge_period_end,
        billing_month,
        cast(billed_on as date) as billed_on,
        cast(quantity as numeric(28, 9)) as quantity,
        cast(unit as {{ dbt.type_string() }}) as unit,
        cast(list_unit_price as numeric(28, 9)) as list_unit_price,
        cast(unit_price as numeric(28, 9)) as unit_price,
        cast(list_cost as numeric(28, 9)) as list_cost,
        cast(contracted_cost as numeric(28, 9)) as contracted_cost,
        cast(billed_cost as numeric(28, 9)) as billed_cost,
        cast(effective_cost as numeric(28, 9)) as effective_cost,
        cast(currency as {{ dbt.type_string() }}) as currency,
        is_complete,
        price_source,
        price_basis,
        price_valid_from,
        price_file,
        price_row
    from unioned

)

select * from final
