-- One row per account, dimension, value, date and meter of Mathpix.
-- Each grouping is a dimension. A row by app or by hash tells its usage type where it had only one; where it had several,
-- the answer leaves them out or collapses them, and nothing tells the pages of that count from its images. The meter is null
-- then. A week or a month has no date.

with

ocr_usage as (

    select * from {{ ref('stg_mathpix__ocr_usage') }}

),

valued as (

    select
        account,
        grouped_by as dimension,
        case grouped_by
            when 'usage_type' then usage_type
            when 'request_args_hash' then request_args_hash
            else app_id
        end as value,
        cast(bucket_start as date) as date,
        case when grouped_by = 'usage_type' or (usage_type <> '' and usage_type not like '[%') then usage_type end as meter,
        usage_count
    from ocr_usage
    where timespan in ('hour', 'day')

),

final as (

    select
        account,
        dimension,
        value,
        date,
        meter,
        cast(sum(usage_count) as numeric(28, 9)) as quantity
    from valued
    group by account, dimension, value, date, meter

)

select * from final
