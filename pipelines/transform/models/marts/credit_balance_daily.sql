-- One row per provider, billing account, unit and date, from the first grant of the unit to the last loaded day.
-- The balances are running sums of the changes in `int_credits__changes`.

with

changes as (

    select * from {{ ref('int_credits__changes') }}

),

parts as (

    select * from {{ ref('int_usage__split_by_grant') }}
    where scenario = 'computed' and unit = 'credit'

),

priced_usage as (

    select * from {{ ref('int_usage__priced') }}
    where scenario = 'computed' and is_priced

),

accounts as (

    select * from {{ ref('int_accounts__completed') }}

),

numbers as (

    {{ dbt.generate_series(10000) }}

),

-- All that grants of the unit could pay for: credits used, or money billed.
payable_daily as (

    select
        provider,
        billing_account,
        unit,
        billing_date as date,
        sum(quantity) as quantity
    from parts
    group by provider, billing_account, unit, billing_date

    union all

    select
        provider,
        billing_account,
        currency as unit,
        billing_date as date,
        sum(billed_cost) as quantity
    from priced_usage
    group by provider, billing_account, currency, billing_date

),

{{ loaded_billing_accounts() }},

spans as (

    select
        changes.provider,
        changes.billing_account,
        changes.unit,
        coalesce(changes.currency, '') as currency,
        loaded.last_date,
        min(min(changes.date)) over (
            partition by changes.provider, changes.billing_account, changes.unit
        ) as first_date
    from changes
    inner join loaded
        on changes.provider = loaded.provider
        and changes.billing_account = loaded.billing_account
    group by
        changes.provider, changes.billing_account, changes.unit, coalesce(changes.currency, ''), loaded.last_date

),

days as (

    select
        spans.*,
        cast({{ later('day', 'cast(numbers.generated_number as integer) - 1', 'spans.first_date') }} as date) as date
    from spans
    inner join numbers
        on numbers.generated_number <= {{ dbt.datediff('spans.first_date', 'spans.last_date', 'day') }} + 1

),

balances as (

    select
        days.provider,
        days.billing_account,
        days.unit,
        nullif(days.currency, '') as currency,
        days.date,
        {%- for measure in ['granted', 'used', 'cost'] %}
        sum(coalesce(changes.{{ measure }}, 0)) over (
            partition by days.provider, days.billing_account, days.unit, days.currency
            order by days.date
            rows between unbounded preceding and current row
        ) as {{ measure }},
        {%- endfor %}
        coalesce(changes.drawn, 0) as drawn
    from days
    left join changes
        on days.provider = changes.provider
        and days.billing_account = changes.billing_account
        and days.unit = changes.unit
        and days.currency = coalesce(changes.currency, '')
        and days.date = changes.date

),

daily as (

    select
        provider,
        billing_account,
        unit,
        date,
        sum(granted) as granted,
        sum(used) as used,
        sum(drawn) as drawn,
        sum(cost) as cost,
        coalesce(max(case when cost <> 0 then currency end), max(currency)) as currency,
        count(nullif(cost, 0)) as currencies
    from balances
    group by provider, billing_account, unit, date

),

-- The average of the 28 days before, or of as many as there are. The day itself may still be running.
rated as (

    select
        daily.*,
        coalesce(payable_daily.quantity, 0) as used_on_date,
        coalesce(payable_daily.quantity, 0) - daily.drawn as overage,
        sum(coalesce(payable_daily.quantity, 0)) over (
            partition by daily.provider, daily.billing_account, daily.unit
            order by daily.date
            rows between 28 preceding and 1 preceding
        ) as used_before,
        count(*) over (
            partition by daily.provider, daily.billing_account, daily.unit
            order by daily.date
            rows between 28 preceding and 1 preceding
        ) as days_before
    from daily
    left join payable_daily
        on daily.provider = payable_daily.provider
        and daily.billing_account = payable_daily.billing_account
        and daily.unit = payable_daily.unit
        and daily.date = payable_daily.date

),

-- Balances in two currencies cannot be added up.
final as (

    select
        provider,
        billing_account,
        cast(unit as {{ dbt.type_string() }}) as unit,
        date,
        cast(granted as numeric(28, 9)) as granted,
        cast(used as numeric(28, 9)) as used,
        cast(granted - used as numeric(28, 9)) as remaining,
        cast(used_on_date as numeric(28, 9)) as used_on_date,
        cast(overage as numeric(28, 9)) as overage,
        cast(case
            when used_before > 0
                then {{ divided('cast((granted - used) * days_before as numeric(38, 9))', 'used_before') }}
        end as numeric(28, 9)) as days_left,
        cast(case when currencies <= 1 then cost end as numeric(28, 9)) as remaining_cost,
        cast(case when currencies <= 1 then currency end as {{ dbt.type_string() }}) as currency
    from rated

)

select * from final
