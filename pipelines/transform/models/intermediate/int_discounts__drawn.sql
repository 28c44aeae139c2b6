-- One row per scenario, provider, billing account, billing date and monetary credit that the usage of the day draws on.
-- `effective_cost` is the day's share of the price paid for the credit. It is computed from running totals, as in
-- `int_credits__drawn`.
-- A forecast scenario starts with the balance that earlier months left. It also has rows for those months (`is_earlier`).

-- By default, the analyzer of Spark gives up on queries that are nested as deeply as twenty turns.
{{ config(pre_hook="{{ on_spark('spark.sql.analyzer.maxIterations = 10000') }}") }}

with recursive

priced_usage as (

    select * from {{ ref('int_usage__priced') }}

),

granted as (

    select * from {{ ref('int_credits__granted') }}

),

scenarios as (

    select * from {{ ref('int_billing__scenarios') }}
    where forecast is not null

),

billed_daily as (

    select
        scenario,
        provider,
        billing_account,
        currency as unit,
        billing_month,
        billing_date as date,
        sum(billed_cost) as quantity,
        min(case when is_complete then 1 else 0 end) as is_complete
    from priced_usage
    where scenario <> 'high' and billed_cost <> 0
    group by scenario, provider, billing_account, currency, billing_month, billing_date

),

daily as (

    select * from billed_daily
    where scenario = 'computed'

),

{{ earlier_usage('daily', 'granted') }},

dated as (

    select
        scenario,
        provider,
        billing_account,
        unit,
        billing_month,
        date,
        quantity,
        is_complete,
        false as is_earlier
    from billed_daily

    union all

    select
        scenario,
        provider,
        billing_account,
        unit,
        billing_month,
        date,
        quantity,
        1 as is_complete,
        true as is_earlier
    from earlier

),

stream as (

    select
        *,
        cast(date as {{ dbt.type_string() }}) as row_key,
        row_number() over (partition by scenario, provider, billing_account, unit order by date) as row_order
    from dated

),

{{ drawn_down('stream', 'granted', ref('int_credits__granted'), "unit <> 'credit'") }},

final as (

    select
        drawn.scenario,
        drawn.provider,
        drawn.billing_account,
        stream.billing_month,
        stream.date as billing_date,
        granted.grant_id,
        granted.grant_key,
        granted.kind,
        cast(drawn.drawn as numeric(28, 9)) as amount,
        cast(
            case
                when granted.is_prepaid then
                    {{ allocated('granted.cost', 'drawn.drawn_after', 'granted.amount') }}
                    - {{ allocated('granted.cost', 'drawn.drawn_after - drawn.drawn', 'granted.amount') }}
                else 0
            end as numeric(28, 9)
        ) as effective_cost,
        drawn.unit as currency,
        granted.is_prepaid,
        stream.is_complete = 1 as is_complete,
        stream.is_earlier
    from drawn
    inner join stream
        on drawn.scenario = stream.scenario
        and drawn.provider = stream.provider
        and drawn.billing_account = stream.billing_account
        and drawn.unit = stream.unit
        and drawn.row_key = stream.row_key
    inner join granted
        on drawn.provider = granted.provider
        and drawn.billing_account = granted.billing_account
        and drawn.unit = granted.unit
        and drawn.grant_key = granted.grant_key

)

select * from final
