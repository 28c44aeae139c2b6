-- One row per provider, account, meter and time bucket.
-- A provider joins the project here, with a branch that brings its one authoritative grouping to these columns.
-- A meter that `sku_map` does not know stays, without SKU and unit: what nobody can price must still be seen.

with

mathpix_ocr_usage as (

    select * from {{ ref('stg_mathpix__ocr_usage') }}

),

sku_map as (

    select * from {{ ref('sku_map') }}

),

-- Apps and groups are added up: Mathpix bills the account, and its tiers count all apps together.
mathpix as (

    select
        'mathpix' as provider,
        account,
        usage_type as meter,
        timespan,
        bucket_start,
        bucket_end,
        sum(usage_count) as quantity,
        -- The vendor calls every count a number of requests, which it is for images only: one PDF request has many
        -- pages.
        sum(case when usage_type in ('image', 'image-async', 'strokes') then usage_count end) as request_count,
        min(case when is_complete then 1 else 0 end) = 1 as is_complete
    from mathpix_ocr_usage
    where grouped_by = 'usage_type'
    group by account, usage_type, timespan, bucket_start, bucket_end

),

unioned as (

    select * from mathpix

),

-- Days, weeks and months are calendar units of the vendor already: shifted by a time zone, a day would begin on the
-- evening before and the first of a month be billed with the month before.
dated as (

    select
        unioned.*,
        case
            when unioned.timespan = 'hour' then {{ billing_date('unioned.provider', 'unioned.bucket_start') }}
            else cast(unioned.bucket_start as date)
        end as billing_date
    from unioned

),

final as (

    select
        cast(dated.provider as {{ dbt.type_string() }}) as provider,
        dated.account,
        dated.meter,
        dated.timespan,
        dated.bucket_start,
        dated.bucket_end,
        dated.billing_date,
        cast({{ dbt.date_trunc('month', 'dated.billing_date') }} as date) as billing_month,
        sku_map.sku_id,
        sku_map.unit,
        cast(dated.quantity as numeric(28, 9)) as quantity,
        cast(dated.request_count as bigint) as request_count,
        dated.is_complete
    from dated
    left join sku_map
        on dated.provider = sku_map.provider
        and dated.meter = sku_map.meter

)

select * from final
