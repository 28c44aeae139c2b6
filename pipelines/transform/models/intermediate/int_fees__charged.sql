-- One row per provider, billing account, fee and period that it is charged for.

with

fees as (

    select * from {{ ref('stg_billing__fees') }}

),

signups as (

    select * from {{ ref('int_billing__signups') }}

),

months as (

    select * from {{ ref('int_billing__months') }}

),

priced_usage as (

    select * from {{ ref('int_usage__priced') }}

),

all_fees as (

    select
        provider,
        billing_account,
        fee_id,
        kind,
        description,
        amount,
        currency,
        valid_from,
        valid_to,
        coalesce(sku_id, '') as sku_id
    from fees

    union all

    select
        provider,
        billing_account,
        term_id as fee_id,
        'one_time' as kind,
        description,
        amount,
        currency,
        signed_up_on as valid_from,
        null as valid_to,
        '' as sku_id
    from signups
    where kind = 'fee'

),

in_month as (

    select
        all_fees.*,
        months.billing_month,
        months.next_month,
        months.month_start,
        months.month_end,
        months.is_complete,
        {{ later(
            'month', dbt.datediff('all_fees.valid_from', 'months.billing_month', 'month'), 'all_fees.valid_from'
        ) }} as monthly_return
    from all_fees
    inner join months
        on all_fees.provider = months.provider
        and all_fees.billing_account = months.billing_account
        and all_fees.valid_from < months.next_month
        and (all_fees.valid_to > months.billing_month or all_fees.valid_to is null)

),

-- A yearly fee is charged on its anniversaries until it ends: a fee from one 15 March to the next is charged for one year.
chargeable as (

    select *
    from in_month
    where
        kind <> 'yearly'
        or (
            extract(month from valid_from) = extract(month from billing_month)
            and (monthly_return < valid_to or valid_to is null)
        )

),

ordered as (

    select
        *,
        row_number() over (partition by provider, billing_account, fee_id, billing_month order by valid_from) as version_no
    from chargeable

),

-- A recurring fee is charged in full for every month or year that it touches: none of the vendors states a fee by the day.
-- If it changes within a month, the month is charged at the initial amount. It is complete from its first day, because
-- nothing is added to it later.
paid as (

    select
        provider,
        billing_account,
        fee_id,
        kind,
        description,
        amount,
        currency,
        billing_month,
        case when kind = 'one_time' then cast(valid_from as {{ type_utc() }}) else month_start end as charge_period_start,
        case
            when kind = 'one_time' then {{ later('day', 1, 'cast(valid_from as ' ~ type_utc() ~ ')') }}
            when kind = 'yearly' then {{ later('year', 1, 'month_start') }}
            else month_end
        end as charge_period_end,
        true as is_complete
    from ordered
    where
        (kind = 'one_time' and valid_from >= billing_month)
        or (kind in ('monthly', 'yearly') and version_no = 1)

),

-- The shortfall against a minimum is known when the month is over; before that it would be the whole fee.
shortfalls as (

    select
        ordered.provider,
        ordered.billing_account,
        ordered.fee_id,
        ordered.kind,
        ordered.description,
        ordered.amount - coalesce(sum(priced_usage.billed_cost), 0) as amount,
        ordered.currency,
        ordered.billing_month,
        ordered.month_start as charge_period_start,
        ordered.month_end as charge_period_end,
        true as is_complete
    from ordered
    left join priced_usage
        on ordered.provider = priced_usage.provider
        and ordered.billing_account = priced_usage.billing_account
        and ordered.billing_month = priced_usage.billing_month
        and ordered.currency = priced_usage.currency
        and priced_usage.scenario = 'computed'
        and (ordered.sku_id = '' or ordered.sku_id = priced_usage.sku_id)
    where ordered.kind = 'minimum' and ordered.is_complete and ordered.version_no = 1
    group by
        ordered.provider, ordered.billing_account, ordered.fee_id, ordered.kind, ordered.description,
        ordered.amount, ordered.currency, ordered.billing_month, ordered.month_start, ordered.month_end
    having ordered.amount > coalesce(sum(priced_usage.billed_cost), 0)

),

unioned as (

    select * from paid
    union all
    select * from shortfalls

),

final as (

    select
        provider,
        billing_account,
        fee_id,
        kind,
        description,
        cast(amount as numeric(28, 9)) as amount,
        currency,
        billing_month,
        charge_period_start,
        charge_period_end,
        is_complete
    from unioned

)

select * from final
