-- One row per provider, billing account and credit grant; a renewing grant has one row per billing month.
-- `turn` is the order in which usage draws on the grants of a unit: by priority, then by the earliest expiry. Grants that
-- are never valid on the same day, such as those of two months, may share a turn, which keeps years of renewals from
-- becoming a long sequence.

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
        cast(null as date) as renewed_in
    from grants
    where coalesce(renews, '') = ''

),

renewed as (

    select
        grants.provider,
        grants.billing_account,
        grants.grant_id,
        {{ dbt.concat(['grants.grant_id', "'/'", 'cast(months.billing_month as ' ~ dbt.type_string() ~ ')']) }} as grant_key,
        grants.kind,
        grants.unit,
        grants.amount,
        greatest(grants.starts_on, months.billing_month) as starts_on,
        least(coalesce(grants.expires_on, months.next_month), months.next_month) as expires_on,
        grants.priority,
        coalesce(grants.cost, 0) as cost,
        nullif(grants.currency, '') as currency,
        months.billing_month as renewed_in
    from grants
    inner join months
        on grants.provider = months.provider
        and grants.billing_account = months.billing_account
        and grants.starts_on < months.next_month
        and (grants.expires_on > months.billing_month or grants.expires_on is null)
    where grants.renews = 'monthly'

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
        cast(null as date) as renewed_in
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

-- Between two one-time grants, renewing grants of different months can share turns.
grouped as (

    select
        *,
        count(case when renewed_in is null then 1 end) over (
            partition by provider, billing_account, unit
            order by place
            rows between unbounded preceding and current row
        ) - case when renewed_in is null then 1 else 0 end as given_once_before,
        case when renewed_in is null then 2 else 1 end as renewed_first
    from placed

),

ranked as (

    select
        *,
        row_number() over (
            partition by provider, billing_account, unit, given_once_before, renewed_first, renewed_in
            order by place
        ) as place_in_month
    from grouped

),

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
        renewed_in is not null as is_recurring,
        cast(dense_rank() over (
            partition by provider, billing_account, unit
            order by given_once_before, renewed_first, place_in_month
        ) as integer) as turn
    from ranked

)

select * from final
