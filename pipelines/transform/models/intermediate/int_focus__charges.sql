-- One row per charge, and per tax or adjustment of an issued invoice line, with the values that both FOCUS versions share.
-- Longer than 200 lines: it fills all columns that FOCUS 1.2 and 1.4 have in common.

with

charges as (

    select * from {{ ref('int_focus__unioned') }}

),

months as (

    select * from {{ ref('int_billing__months') }}

),

invoice_lines as (

    select * from {{ ref('stg_billing__invoice_lines') }}

),

services as (

    select * from {{ ref('focus_services') }}

),

owners as (

    select * from {{ ref('cost_by_owner_daily') }}

),

-- The days whose whole cost belongs to one owner.
only_owners as (

    select
        provider,
        billing_account,
        account,
        date,
        currency,
        max(team) as team,
        max(cost_centre) as cost_centre,
        max(tags) as tags
    from owners
    group by provider, billing_account, account, date, currency
    having count(*) = 1 and max(team) <> 'unowned'

),

-- FOCUS writes units capitalised and in the plural. A unit without a mapping keeps the name in its price list.
named_units as (

    select
        *,
        case
            when lower(unit) = 'image' then 'Images'
            when lower(unit) = 'page' then 'Pages'
            when lower(unit) = 'session' then 'Sessions'
            when lower(unit) in ('credit', 'credits') then 'Credits'
            when lower(unit) = 'character' then 'Characters'
            when lower(unit) = 'token' then 'Tokens'
            when lower(unit) = 'request' then 'Requests'
            when lower(unit) = 'fee' then 'Fees'
            when lower(unit) = 'month' then 'Months'
            when lower(unit) = 'year' then 'Years'
            else coalesce(nullif(unit, ''), 'Units')
        end as unit_name,
        -- Usage drawn from prepaid credits is priced in credits, not in money.
        charge_category = 'Usage' and grant_id is not null and lower(unit) in ('credit', 'credits') as is_drawn
    from charges

),

-- A fee or a grant of credits may have an amount and no unit price. Without a public price, the contracted price is the list
-- price too, unless the two costs differ.
unit_prices as (

    select
        *,
        coalesce(
            list_unit_price,
            case when list_cost = contracted_cost then unit_price end,
            case when charge_category = 'Purchase' and quantity > 0 then {{ divided('list_cost', 'quantity') }} end
        ) as found_list_unit_price,
        coalesce(
            unit_price,
            case when charge_category = 'Purchase' and quantity > 0 then {{ divided('contracted_cost', 'quantity') }} end
        ) as found_unit_price
    from named_units

),

-- FOCUS requires quantity times price to equal the cost, to the last digit.
checked_prices as (

    select
        *,
        coalesce(
            quantity * found_list_unit_price = list_cost and quantity * found_unit_price = contracted_cost,
            false
        ) as is_product
    from unit_prices

),

-- A purchase without such a unit price of nine decimals (three credits for a dollar) is shown as one unit at its whole cost.
-- A correction is a difference of costs and is then shown without price and priced quantity.
pricing as (

    select
        *,
        charge_category = 'Purchase' and charge_class is null and not is_product as is_one_unit,
        charge_category in ('Usage', 'Purchase') and (charge_class is null or is_product) as is_priced
    from checked_prices

),

final as (

    select
        pricing.charge_id,
        pricing.provider,
        coalesce(services.provider_name, pricing.provider) as provider_name,
        coalesce(services.service_name, pricing.provider) as service_name,
        coalesce(services.service_subcategory, 'Other (AI and Machine Learning)') as service_subcategory,
        pricing.billing_account,
        nullif(pricing.account, '') as account,
        -- A billing account that was removed from the accounts file has no months, but may have been billed.
        coalesce(months.month_start, cast(pricing.billing_month as {{ type_utc() }})) as billing_period_start,
        coalesce(
            months.month_end,
            cast({{ later('month', 1, 'pricing.billing_month') }} as {{ type_utc() }})
        ) as billing_period_end,
        -- FOCUS requires a charge period within its billing period. So a bucket in two months ends with the first one, in which
        -- it is billed, and a UTC day starts with its billing month, which begins later west of UTC. A correction keeps the
        -- period of the charge that it corrects.
        case
            when pricing.charge_class is null and pricing.charge_period_start < months.month_start then months.month_start
            else pricing.charge_period_start
        end as charge_period_start,
        case
            when pricing.charge_category in ('Usage', 'Credit') and pricing.charge_period_end > months.month_end
                then months.month_end
            else pricing.charge_period_end
        end as charge_period_end,
        pricing.charge_category,
        pricing.charge_class,
        pricing.charge_description,
        pricing.charge_frequency,
        cast(case when pricing.charge_category = 'Usage' then pricing.quantity end as numeric(28, 9)) as consumed_quantity,
        case when pricing.charge_category = 'Usage' then pricing.unit_name end as consumed_unit,
        case when pricing.is_priced then 'Standard' end as pricing_category,
        cast(
            case when pricing.is_one_unit then 1 when pricing.is_priced then pricing.quantity end as numeric(28, 9)
        ) as pricing_quantity,
        case when pricing.is_one_unit then 'Units' when pricing.is_priced then pricing.unit_name end as pricing_unit,
        cast(
            case
                when pricing.is_one_unit then pricing.list_cost
                when pricing.is_priced then pricing.found_list_unit_price
            end as numeric(28, 9)
        ) as list_unit_price,
        cast(
            case
                when pricing.is_one_unit then pricing.contracted_cost
                when pricing.is_priced then pricing.found_unit_price
            end as numeric(28, 9)
        ) as contracted_unit_price,
        case when pricing.is_drawn then 'Credit' else pricing.currency end as pricing_currency,
        cast(
            case
                when pricing.is_drawn and pricing.is_priced then 1
                when pricing.is_one_unit then pricing.list_cost
                when pricing.is_priced then pricing.found_list_unit_price
            end as numeric(28, 9)
        ) as pricing_currency_list_unit_price,
        cast(
            case
                when pricing.is_drawn and pricing.is_priced then 1
                when pricing.is_one_unit then pricing.contracted_cost
                when pricing.is_priced then pricing.found_unit_price
            end as numeric(28, 9)
        ) as pricing_currency_contracted_unit_price,
        cast(
            case when pricing.is_drawn then pricing.quantity else pricing.effective_cost end as numeric(28, 9)
        ) as pricing_currency_effective_cost,
        pricing.list_cost,
        pricing.contracted_cost,
        pricing.billed_cost,
        pricing.effective_cost,
        pricing.currency,
        pricing.sku_id,
        case when pricing.sku_id is not null then pricing.unit_name end as sku_meter,
        case when pricing.is_priced then coalesce(pricing.sku_price_id, pricing.sku_id) end as sku_price_id,
        case
            when pricing.is_priced and pricing.tier_no is not null
                then {{ dbt.concat(["'{\"x_Tier\": '", 'cast(pricing.tier_no as ' ~ dbt.type_string() ~ ')', "'}'"]) }}
        end as sku_price_details,
        pricing.invoice_id,
        case
            when invoice_lines.line_number is not null
                then {{ dbt.concat([
                    'pricing.invoice_id', "'/'", 'cast(pricing.line_number as ' ~ dbt.type_string() ~ ')',
                ]) }}
        end as invoice_detail_id,
        pricing.grant_id,
        nullif(pricing.meter, '') as meter,
        case
            when only_owners.team is null then '{}'
            else {{ dbt.concat([
                "'{\"team\": \"'", 'only_owners.team', "'\"'",
                "case when only_owners.cost_centre <> '' then "
                ~ dbt.concat(["', \"cost_centre\": \"'", 'only_owners.cost_centre', "'\"'"]) ~ " else '' end",
                "case when only_owners.tags is not null then "
                ~ dbt.concat(["', '", 'substring(only_owners.tags, 2)']) ~ " else '}' end",
            ]) }}
        end as tags,
        pricing.is_complete
    from pricing
    left join months
        on pricing.provider = months.provider
        and pricing.billing_account = months.billing_account
        and pricing.billing_month = months.billing_month
    left join services
        on pricing.provider = services.provider
    left join invoice_lines
        on pricing.provider = invoice_lines.provider
        and pricing.billing_account = invoice_lines.billing_account
        and pricing.invoice_id = invoice_lines.invoice_id
        and pricing.line_number = invoice_lines.line_number
        -- FOCUS requires that a charge and the detail of its invoice agree in this.
        and pricing.charge_category = invoice_lines.charge_category
    left join only_owners
        on pricing.provider = only_owners.provider
        and pricing.billing_account = only_owners.billing_account
        and pricing.account = only_owners.account
        and pricing.currency = only_owners.currency
        and cast(pricing.charge_period_start as date) = only_owners.date
        -- `cost_daily` has no longer charges.
        and pricing.charge_period_end <= {{ later('day', 1, 'cast(pricing.charge_period_start as date)') }}

)

select * from final
