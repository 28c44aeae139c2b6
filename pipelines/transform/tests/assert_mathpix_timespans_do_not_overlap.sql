-- One row per account and grouping with overlapping buckets of different length, whose usage counts twice.
-- A change of the timespan replaces the times that are loaded again. It does not reach buckets of another timespan that an
-- earlier backfill loaded.
-- depends_on: {{ ref('cost_monthly') }}

with

ocr_usage as (

    select distinct
        grouped_by,
        account,
        timespan,
        bucket_start,
        bucket_end
    from {{ ref('stg_mathpix__ocr_usage') }}

),

ordered as (

    select
        *,
        max(bucket_end) over (
            partition by grouped_by, account
            order by bucket_start, bucket_end
            rows between unbounded preceding and 1 preceding
        ) as covered_until
    from ocr_usage

),

final as (

    select
        grouped_by,
        account,
        min(bucket_start) as first_overlap,
        'Buckets of different length overlap: run once with --full-refresh and the timespan that is to stay.' as message
    from ordered
    where bucket_start < covered_until
    group by grouped_by, account

)

select * from final
