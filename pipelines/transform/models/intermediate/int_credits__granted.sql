-- One row per provider, billing account and credit grant; a renewing grant has one row per monthly period.
-- A period starts on the same day of the month as the grant, or on the last day of a shorter month.
-- `turn` is the order in which usage draws on the grants of a unit: by priority, then by the earliest expiry. Grants that
-- are never valid on the same day, such as those of two periods, may share a turn, which keeps years of renewals from
-- becoming a long sequence.
-- Longer than 200 lines: one-time, renewing and sign-up grants are numbered in one sequence.

with

grants as (

    select * from {{ ref('stg_billing__credit_grants') }}

),

signups as (

    select * from {{ ref('int_billing__signups') }}

),

months as (

    select * from {{ ref('int_billing__months') }}

),

tiers as (

    select * from {{ ref('int_prices__tiers') }}

),

given_once as (

    select
        provider,
        billing_account,
        grant_id,
        grant_id as grant_key,
        kind,
        unit,
        amount,
        starts_on,
        expires_on,
        priority,
        coalesce(cost, 0) as cost,
        nullif(currency, '') as currency,
        cast(null as date) as renewed_on,
        cast(null as integer) as renewal_day
    from grants
    where coalesce(renews, '') = ''

),

-- The start of each period is counted from the start of the grant, not from the previous period, so that a shorter month does
-- not move later periods: 31 January, 28 February, 31 March.
renewals as (

    select
        grants.*,
        cast({{ later('month', months_between('grants.starts_on', 'months.billing_month'), 'grants.starts_on') }} as date)
            as period_start,
        cast({{ later('month', months_between('grants.starts_on', 'months.billing_month') ~ ' + 1', 'grants.starts_on') }}
            as date) as period_end
    from grants
    inner join months
        on grants.provider = months.provider
        and grants.billing_account = months.billing_account
        and grants.starts_on < months.next_month
    where grants.renews = 'monthly'

),

renewed as (

    select
        provider,
        billing_account,
        grant_id,
        {{ dbt.concat(['grant_id', "'/'", date_text('period_start')]) }} as grant_key,
        kind,
        unit,
        amount,
        period_start as starts_on,
        least(coalesce(expires_on, period_end), period_end) as expires_on,
        priority,
        coalesce(cost, 0) as cost,
        nullif(currency, '') as currency,
        period_start as renewed_on,
        extract(day from starts_on) as renewal_day
    from renewals
    where period_start < expires_on or expires_on is null

),

signed_up as (

    select
        provider,
        billing_account,
        term_id as grant_id,
        term_id as grant_key,
        'promotional' as kind,
        currency as unit,
        amount,
        signed_up_on as starts_on,
        cast(null as date) as expires_on,
        2 as priority,
        0 as cost,
        currency,
        cast(null as date) as renewed_on,
        cast(null as integer) as renewal_day
    from signups
    where kind = 'credit'

),

unioned as (

    select * from given_once
    union all
    select * from renewed
    union all
    select * from signed_up

),

placed as (

    select
        *,
        row_number() over (
            partition by provider, billing_account, unit
            order by priority, coalesce(expires_on, cast('9999-12-31' as date)), starts_on, grant_key
        ) as place
    from unioned

),

-- Renewing grants can share turns if they have the same priority and no one-time grant comes between them.
grouped as (

    select
        *,
        count(case when renewed_on is null then 1 end) over (
            partition by provider, billing_account, unit
            order by place
            rows between unbounded preceding and current row
        ) - case when renewed_on is null then 1 else 0 end as given_once_before,
        case when renewed_on is null then 2 else 1 end as renewed_first
    from placed

),

-- They share turns only if all renew on the same day of the month: then two periods either start together or do not overlap.
ranked as (

    select
        *,
        case
            when
                min(renewal_day) over (
                    partition by provider, billing_account, unit, given_once_before, renewed_first, priority
                ) = max(renewal_day) over (
                    partition by provider, billing_account, unit, given_once_before, renewed_first, priority
                )
                then row_number() over (
                    partition by provider, billing_account, unit, given_once_before, renewed_first, priority, renewed_on
                    order by place
                )
            else place
        end as place_in_group
    from grouped

),

-- The public price of one unit of the grant: for credits, that of the first tier on the day of the purchase.
listed as (

    select
        ranked.*,
        case when ranked.unit = ranked.currency then 1 else tiers.unit_price end as list_unit_price
    from ranked
    left join tiers
        on not tiers.is_contract
        and ranked.unit = 'credit'
        and tiers.sku_id = {{ dbt.concat(['ranked.provider', "'/credit'"]) }}
        and tiers.tier_no = 1
        and ranked.currency = tiers.currency
        and ranked.starts_on >= tiers.valid_from
        and (ranked.starts_on < tiers.valid_to or tiers.valid_to is null)

),

-- The cost of a prepaid grant is amortised over usage. A monetary credit that was paid for in another currency cannot be.
final as (

    select
        provider,
        billing_account,
        grant_id,
        cast(grant_key as {{ dbt.type_string() }}) as grant_key,
        cast(kind as {{ dbt.type_string() }}) as kind,
        unit,
        cast(amount as numeric(28, 9)) as amount,
        starts_on,
        expires_on,
        cast(cost as numeric(28, 9)) as cost,
        currency,
        cast({{ divided('cost', 'amount') }} as numeric(28, 9)) as unit_cost,
        cast(list_unit_price as numeric(28, 9)) as list_unit_price,
        coalesce(cost <> 0 and (unit = 'credit' or unit = currency), false) as is_prepaid,
        renewed_on is not null as is_recurring,
        cast(dense_rank() over (
            partition by provider, billing_account, unit
            order by given_once_before, renewed_first, priority, place_in_group
        ) as integer) as turn
    from listed

)

select * from final
