-- One row per scenario and charge, computed from the quantities of the scenario.
-- `computed` has the data loaded now, regardless of earlier bills. Other scenarios have only the charges that depend on usage, in
-- the months that they rate.

with

credited_usage as (

    select * from {{ ref('int_usage__credited') }}

),

fees as (

    select * from {{ ref('int_fees__charged') }}

),

credits as (

    select * from {{ ref('int_credits__charged') }}

),

-- Usage that a prepaid monetary credit pays for is not billed again. A free monetary credit is a charge of its own.
usage_charges as (

    select
        scenario,
        provider,
        billing_account,
        account,
        meter,
        sku_id,
        sku_price_id,
        tier_no,
        grant_key,
        grant_id,
        slice_key,
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
        scenario,
        provider,
        billing_account,
        '' as account,
        '' as meter,
        {{ dbt.concat(['provider', "'/fee/'", 'fee_id']) }} as sku_id,
        case when kind <> 'minimum' then {{ dbt.concat(['provider', "'/fee/'", 'fee_id']) }} end as sku_price_id,
        cast(null as integer) as tier_no,
        cast(null as {{ dbt.type_string() }}) as grant_key,
        cast(null as {{ dbt.type_string() }}) as grant_id,
        cast(null as integer) as slice_key,
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

credit_charges as (

    select
        scenario,
        provider,
        billing_account,
        '' as account,
        '' as meter,
        sku_id,
        sku_price_id,
        cast(null as integer) as tier_no,
        grant_key,
        grant_id,
        cast(null as integer) as slice_key,
        charge_category,
        charge_frequency,
        charge_description,
        charge_period_start,
        charge_period_end,
        billing_month,
        billed_on,
        quantity,
        unit,
        list_unit_price,
        unit_price,
        list_cost,
        contracted_cost,
        billed_cost,
        effective_cost,
        currency,
        is_complete,
        {{ without_price() }}
    from credits

),

unioned as (

    select * from usage_charges
    union all
    select * from fee_charges
    union all
    select * from credit_charges

),

-- The key identifies the usage, its tier and its grant. It has no price, so a changed price of a tier keeps the key. The
-- key of a usage charge has no billing account, because the account may move to another one.
final as (

    select
        cast(scenario as {{ dbt.type_string() }}) as scenario,
        {{ dbt.hash(dbt.concat([
            'charge_category', "'|'", 'provider', "'|'", "case when account = '' then billing_account else '' end", "'|'",
            'account', "'|'", 'meter', "'|'", 'sku_id', "'|'",
            "coalesce(cast(tier_no as " ~ dbt.type_string() ~ "), '')", "'|'",
            "coalesce(cast(slice_key as " ~ dbt.type_string() ~ "), '')", "'|'", "coalesce(grant_key, '')", "'|'",
            time_text('charge_period_start'), "'|'", time_text('charge_period_end'),
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
