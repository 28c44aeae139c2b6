-- One row per bucket that starts in one billing month and ends in another.
-- It is billed with the month of its start, because its usage cannot be divided. A week does this once a month; a day or
-- month does if the provider does not bill by UTC, and an hour does in a time zone with a half-hour offset. The remedy for
-- days and longer buckets is to load such an account by the hour.

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
        {{ dbt.date_trunc('month', billing_date('bucket_start', 'billing_timezone')) }}
        <> {{ dbt.date_trunc('month', billing_date(later('second', -1, 'bucket_end'), 'billing_timezone')) }}

)

select * from final
