-- One row per scenario, bucket of credit usage, and credit grant that it draws on.
-- `effective_cost` is the bucket's share of the grant's cost, computed from running totals: the shares of a grant that is
-- used up add up to exactly its cost.
-- A forecast scenario starts with the balance that earlier months left. It also has rows for their usage; these have no bucket.

-- By default, the analyzer of Spark gives up on queries that are nested as deeply as twenty turns.
{{ config(pre_hook="{{ on_spark('spark.sql.analyzer.maxIterations = 10000') }}") }}

with recursive

usage as (

    select * from {{ ref('int_usage__in_scenarios') }}

),

granted as (

    select * from {{ ref('int_credits__granted') }}

),

scenarios as (

    select * from {{ ref('int_billing__scenarios') }}
    where forecast is not null

),

credit_usage as (

    select
        *,
        {{ usage_key() }} as row_key
    from usage
    where unit = 'credit' and is_billed and quantity <> 0

),

daily as (

    select
        provider,
        billing_account,
        unit,
        billing_month,
        billing_date as date,
        sum(quantity) as quantity
    from credit_usage
    where scenario = 'computed'
    group by provider, billing_account, unit, billing_month, billing_date

),

{{ earlier_usage('daily', 'granted') }},

stream as (

    select
        scenario,
        provider,
        billing_account,
        unit,
        row_key,
        row_number() over (
            partition by scenario, provider, billing_account, unit order by bucket_start, bucket_end, account, meter, timespan
        ) as row_order,
        billing_date as date,
        quantity
    from credit_usage

    union all

    -- Their order is negative: they come before the rows of the month.
    select
        scenario,
        provider,
        billing_account,
        unit,
        {{ dbt.concat(['provider', "'|'", 'billing_account', "'|before|'", date_text('date')]) }} as row_key,
        -row_number() over (partition by scenario, provider, billing_account, unit order by date desc) as row_order,
        date,
        quantity
    from earlier

),

{{ drawn_down('stream', 'granted', ref('int_credits__granted'), "unit = 'credit'") }},

final as (

    select
        drawn.scenario,
        drawn.provider,
        drawn.billing_account,
        drawn.row_key,
        drawn.grant_key,
        granted.grant_id,
        drawn.drawn as quantity,
        cast(
            {{ allocated('granted.cost', 'drawn.drawn_after', 'granted.amount') }}
            - {{ allocated('granted.cost', 'drawn.drawn_after - drawn.drawn', 'granted.amount') }} as numeric(28, 9)
        ) as effective_cost,
        granted.unit_cost,
        granted.currency
    from drawn
    inner join granted
        on drawn.provider = granted.provider
        and drawn.billing_account = granted.billing_account
        and drawn.unit = granted.unit
        and drawn.grant_key = granted.grant_key

)

select * from final
