-- One row per charge: usage of a bucket within one price tier and one credit grant, a fee, a purchase of credits, a credit,
-- an adjustment, or a correction.
-- A bucket that crosses a tier boundary is two charges, so that quantity times unit price is the cost in every row.
-- Closing freezes quantities, not prices: while a closed month has the quantities that it was closed with, it is computed again,
-- with the present prices, credits and fees. If the vendor has restated it, it stays as it was closed, and corrections follow.

with

computed as (

    select * from {{ ref('int_charges__computed') }}

),

unpriced as (

    select * from {{ ref('int_usage__priced') }}
    where scenario = 'computed' and not is_priced

),

months as (

    select * from {{ ref('int_billing__months') }}

),

-- Without those of a provider that was switched off: it counts as never loaded, which must not look like withdrawn usage.
closed as (

    select * from {{ ref('int_charges__closed') }}
    where provider in (select months.provider from months)

),

closed_months as (

    select distinct
        provider,
        billing_account,
        billing_month
    from closed

),

closed_accounts as (

    select
        provider,
        account,
        billing_month,
        min(billing_account) as billing_account
    from closed
    where account <> ''
    group by provider, account, billing_month

),

-- A change after a month was billed does not change its bill: it is billed with the first open month.
open_months as (

    select
        months.provider,
        months.billing_account,
        min(case when closed_months.billing_month is null then months.billing_month end) as billing_month,
        max(months.next_month) as next_month
    from months
    left join closed_months
        on months.provider = closed_months.provider
        and months.billing_account = closed_months.billing_account
        and months.billing_month = closed_months.billing_month
    group by months.provider, months.billing_account

),

-- A closed charge keeps its billing account, even if the account has moved to another one since.
judged as (

    select
        computed.*,
        coalesce(closed_accounts.billing_account, closed_months.billing_account) as closed_account
    from computed
    left join closed_months
        on computed.provider = closed_months.provider
        and computed.billing_account = closed_months.billing_account
        and computed.billing_month = closed_months.billing_month
    left join closed_accounts
        on computed.provider = closed_accounts.provider
        and computed.account = closed_accounts.account
        and computed.billing_month = closed_accounts.billing_month

),

-- What the vendor reported: the usage of accounts, without unused credits. Usage that has lost its price since is the same usage.
quantities as (

    select
        provider,
        closed_account,
        billing_month,
        account,
        meter,
        charge_period_start,
        charge_period_end,
        quantity,
        0 as unpriced_quantity
    from judged
    where closed_account is not null and charge_category = 'Usage' and account <> ''

    union all

    select
        provider,
        billing_account as closed_account,
        billing_month,
        account,
        meter,
        charge_period_start,
        charge_period_end,
        -quantity as quantity,
        0 as unpriced_quantity
    from closed
    where charge_category = 'Usage' and account <> ''

    union all

    select
        unpriced.provider,
        closed_accounts.billing_account as closed_account,
        unpriced.billing_month,
        unpriced.account,
        unpriced.meter,
        unpriced.bucket_start as charge_period_start,
        unpriced.bucket_end as charge_period_end,
        0 as quantity,
        unpriced.quantity as unpriced_quantity
    from unpriced
    inner join closed_accounts
        on unpriced.provider = closed_accounts.provider
        and unpriced.account = closed_accounts.account
        and unpriced.billing_month = closed_accounts.billing_month

),

differing_quantities as (

    select
        provider,
        closed_account,
        billing_month
    from quantities
    group by provider, closed_account, billing_month, account, meter, charge_period_start, charge_period_end
    having sum(quantity) <> 0 and sum(quantity) + sum(unpriced_quantity) <> 0

),

restated_months as (

    select distinct
        provider,
        closed_account,
        billing_month
    from differing_quantities

),

compared as (

    select
        judged.*,
        restated_months.billing_month is not null as is_restated
    from judged
    left join restated_months
        on judged.provider = restated_months.provider
        and judged.closed_account = restated_months.closed_account
        and judged.billing_month = restated_months.billing_month

),

kept as (

    select closed.*
    from closed
    inner join restated_months
        on closed.provider = restated_months.provider
        and closed.billing_account = restated_months.closed_account
        and closed.billing_month = restated_months.billing_month

),

{%- set same = [
    'charge_id', 'provider', 'billing_account', 'account', 'meter', 'sku_id', 'sku_price_id', 'tier_no', 'grant_id',
    'charge_category', 'charge_frequency', 'charge_description', 'charge_period_start', 'charge_period_end', 'billing_month',
    'billed_on', 'quantity', 'unit', 'list_cost', 'contracted_cost', 'billed_cost', 'effective_cost', 'currency', 'is_complete',
] %}
{%- set price = ['price_source', 'price_basis', 'price_valid_from', 'price_file', 'price_row'] %}
{%- set measures = ['quantity', 'list_cost', 'contracted_cost', 'billed_cost', 'effective_cost'] %}

sides as (

    select
        {{ same | join(', ') }},
        1 as sign,
        cast(null as {{ dbt.type_string() }}) as billed_account
    from compared
    where is_restated

    union all

    select
        {{ same | join(', ') }},
        -1 as sign,
        billing_account as billed_account
    from kept

),

differences as (

    select
        charge_id,
        provider,
        coalesce(max(billed_account), max(billing_account)) as billing_account,
        account,
        meter,
        sku_id,
        sku_price_id,
        tier_no,
        grant_id,
        charge_category,
        max(charge_frequency) as charge_frequency,
        max(charge_description) as charge_description,
        charge_period_start,
        charge_period_end,
        max(billing_month) as closed_month,
        max(unit) as unit,
        currency,
        {%- for measure in measures %}
        sum(sign * {{ measure }}) as {{ measure }},
        {%- endfor %}
        min(case when is_complete then 1 else 0 end) = 1 as is_complete
    from sides
    group by
        charge_id, provider, account, meter, sku_id, sku_price_id, tier_no, grant_id, charge_category, charge_period_start,
        charge_period_end, currency
    having
        {%- for measure in measures %}
        sum(sign * {{ measure }}) <> 0{{ ' or' if not loop.last }}
        {%- endfor %}

),

corrections as (

    select
        {{ dbt.concat(['differences.charge_id', "'-correction-'", 'differences.currency']) }} as charge_id,
        differences.provider,
        differences.billing_account,
        differences.account,
        differences.meter,
        differences.sku_id,
        differences.sku_price_id,
        differences.tier_no,
        differences.grant_id,
        differences.charge_category,
        differences.charge_frequency,
        {{ dbt.concat(["'Correction: '", 'differences.charge_description']) }} as charge_description,
        differences.charge_period_start,
        differences.charge_period_end,
        cast(coalesce(
            open_months.billing_month, open_months.next_month, {{ later('month', 1, 'differences.closed_month') }}
        ) as date) as billing_month,
        cast(coalesce(
            open_months.billing_month, open_months.next_month, {{ later('month', 1, 'differences.closed_month') }}
        ) as date) as billed_on,
        differences.quantity,
        differences.unit,
        differences.list_cost,
        differences.contracted_cost,
        differences.billed_cost,
        differences.effective_cost,
        differences.currency,
        differences.is_complete,
        {{ without_price() }}
    from differences
    left join open_months
        on differences.provider = open_months.provider
        and differences.billing_account = open_months.billing_account

),

unioned as (

    select
        {{ (same + price) | join(', ') }},
        list_unit_price,
        unit_price,
        cast(null as {{ dbt.type_string() }}) as charge_class
    from compared
    where not is_restated

    union all

    select
        {{ (same + price) | join(', ') }},
        list_unit_price,
        unit_price,
        cast(null as {{ dbt.type_string() }}) as charge_class
    from kept

    union all

    select
        {{ (same + price) | join(', ') }},
        null as list_unit_price,
        null as unit_price,
        'Correction' as charge_class
    from corrections

),

final as (

    select
        cast(charge_id as {{ dbt.type_string() }}) as charge_id,
        provider,
        billing_account,
        account,
        meter,
        sku_id,
        sku_price_id,
        tier_no,
        grant_id,
        charge_category,
        cast(charge_class as {{ dbt.type_string() }}) as charge_class,
        charge_frequency,
        cast(charge_description as {{ dbt.type_string() }}) as charge_description,
        charge_period_start,
        charge_period_end,
        billing_month,
        coalesce(billed_on, billing_month) as billed_on,
        cast(quantity as numeric(28, 9)) as quantity,
        unit,
        cast(list_unit_price as numeric(28, 9)) as list_unit_price,
        cast(unit_price as numeric(28, 9)) as unit_price,
        cast(list_cost as numeric(28, 9)) as list_cost,
        cast(contracted_cost as numeric(28, 9)) as contracted_cost,
        cast(billed_cost as numeric(28, 9)) as billed_cost,
        cast(effective_cost as numeric(28, 9)) as effective_cost,
        currency,
        is_complete,
        price_source,
        price_basis,
        price_valid_from,
        price_file,
        price_row
    from unioned

)

select * from final
