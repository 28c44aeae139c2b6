-- One row per scenario, provider, billing account, billing date and monetary credit that the usage of the day draws on.
-- `effective_cost` is the day's share of the price paid for the credit. It is computed from running totals, as in
-- `int_credits__drawn`.

-- By default, the analyzer of Spark gives up on queries that are nested as deeply as twenty turns.
{{ config(pre_hook="{{ on_spark('spark.sql.analyzer.maxIterations = 10000') }}") }}

with recursive

priced_usage as (

    select * from {{ ref('int_usage__priced') }}

),

granted as (

    select * from {{ ref('int_credits__granted') }}

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

stream as (

    select
        *,
        cast(date as {{ dbt.type_string() }}) as row_key,
        row_number() over (partition by scenario, provider, billing_account, unit order by date) as row_order
    from billed_daily

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
        stream.is_complete = 1 as is_complete
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
