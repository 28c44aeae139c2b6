-- One row per bucket that began in one billing month and ended in another.
-- It is billed with the month of its start, because nothing tells how its usage divides. A week does this once a month;
-- a day or month does where the provider does not bill by UTC. Loading such an account by the hour is the way out.

{{ config(severity='warn') }}

with

metered_usage as (

    select * from {{ ref('int_usage__metered') }}

),

final as (

    select
        provider,
        account,
        meter,
        timespan,
        bucket_start,
        bucket_end,
        quantity
    from metered_usage
    where
        timespan <> 'hour'
        and {{ dbt.date_trunc('month', billing_date('bucket_start', 'billing_timezone')) }}
        <> {{ dbt.date_trunc('month', billing_date(later('second', -1, 'bucket_end'), 'billing_timezone')) }}

)

select * from final
