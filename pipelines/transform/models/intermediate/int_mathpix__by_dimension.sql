-- One row per account, dimension, value, date and meter of Mathpix.
-- Each grouping is a dimension. A row by app or by hash has a usage type if all its usage is of one type. If not, the API
-- leaves the type out or collapses the types, and the count cannot be divided into pages and images: the meter is null.
-- Weeks and months are left out, because they have no date.

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
