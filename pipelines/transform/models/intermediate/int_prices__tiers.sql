-- One row per price tier and validity: the public list, and the contracts of the user.

with

price_list as (

    select * from {{ ref('price_list') }}

),

contract_prices as (

    select * from {{ ref('stg_billing__prices') }}

),

credit_prices as (

    select * from {{ ref('stg_billing__credit_prices') }}

),

listed as (

    select
        false as is_contract,
        {{ dbt.split_part('sku_id', "'/'", 1) }} as provider,
        cast('' as {{ dbt.type_string() }}) as billing_account,
        sku_id,
        sku_price_id,
        pricing_model,
        tier_no,
        tier_from,
        tier_to,
        unit,
        unit_price,
        currency,
        valid_from,
        valid_to,
        basis as price_basis,
        source_url,
        verified_on,
        cast(null as {{ dbt.type_string() }}) as price_file,
        cast(null as bigint) as price_row
    from price_list

),

contracted as (

    select
        true as is_contract,
        provider,
        coalesce(billing_account, '') as billing_account,
        sku_id,
        sku_price_id,
        pricing_model,
        tier_no,
        tier_from,
        tier_to,
        nullif(unit, '') as unit,
        unit_price,
        currency,
        valid_from,
        valid_to,
        cast(null as {{ dbt.type_string() }}) as price_basis,
        cast(null as {{ dbt.type_string() }}) as source_url,
        cast(null as date) as verified_on,
        price_file,
        price_row
    from contract_prices

),

-- The price of a credit that no grant covers.
credits as (

    select
        true as is_contract,
        provider,
        coalesce(billing_account, '') as billing_account,
        {{ dbt.concat(['provider', "'/credit'"]) }} as sku_id,
        {{ dbt.concat(['provider', "'/credit/t1'"]) }} as sku_price_id,
        'flat' as pricing_model,
        1 as tier_no,
        0 as tier_from,
        cast(null as numeric(28, 9)) as tier_to,
        'credit' as unit,
        unit_price,
        currency,
        valid_from,
        valid_to,
        cast(null as {{ dbt.type_string() }}) as price_basis,
        cast(null as {{ dbt.type_string() }}) as source_url,
        cast(null as date) as verified_on,
        price_file,
        price_row
    from credit_prices

),

unioned as (

    select * from listed
    union all
    select * from contracted
    union all
    select * from credits

),

final as (

    select
        is_contract,
        cast(provider as {{ dbt.type_string() }}) as provider,
        billing_account,
        cast(sku_id as {{ dbt.type_string() }}) as sku_id,
        cast(sku_price_id as {{ dbt.type_string() }}) as sku_price_id,
        cast(pricing_model as {{ dbt.type_string() }}) as pricing_model,
        cast(tier_no as integer) as tier_no,
        cast(tier_from as numeric(28, 9)) as tier_from,
        cast(tier_to as numeric(28, 9)) as tier_to,
        cast(unit as {{ dbt.type_string() }}) as unit,
        cast(unit_price as numeric(28, 9)) as unit_price,
        currency,
        valid_from,
        valid_to,
        cast(price_basis as {{ dbt.type_string() }}) as price_basis,
        cast(source_url as {{ dbt.type_string() }}) as source_url,
        verified_on,
        cast(price_file as {{ dbt.type_string() }}) as price_file,
        price_row
    from unioned

)

select * from final
