-- One row per account, meter and time bucket of Mathpix.
-- The grouping by usage type is authoritative. Apps and groups are summed: Mathpix bills the account, and its tiers count
-- all apps together.

with

ocr_usage as (

    select * from {{ ref('stg_mathpix__ocr_usage') }}

),

final as (

    select
        account,
        usage_type as meter,
        timespan,
        bucket_start,
        bucket_end,
        cast(sum(usage_count) as numeric(28, 9)) as quantity,
        -- Mathpix calls every count a number of requests. That is true for images only: one PDF request has many pages.
        cast(
            sum(case when usage_type in ('image', 'image-async', 'strokes') then usage_count end) as bigint
        ) as request_count,
        min(case when is_complete then 1 else 0 end) = 1 as is_complete
    from ocr_usage
    where grouped_by = 'usage_type'
    group by account, usage_type, timespan, bucket_start, bucket_end

)

select * from final
