-- One row per account, timespan, date and grouping whose usage differs from the usage by type.
-- Mathpix does not document that its groupings add up. The usage by type is priced; this test shows where the other two
-- groupings differ from it. Hours that were still running are left out: they grow between the requests for two groupings.

{{ config(severity='warn') }}

with

ocr_usage as (

    select * from {{ ref('stg_mathpix__ocr_usage') }}

),

loaded_groupings as (

    select distinct
        account,
        timespan,
        grouped_by
    from ocr_usage

),

daily as (

    select
        account,
        timespan,
        grouped_by,
        cast(bucket_start as date) as date,
        sum(usage_count) as usage_count
    from ocr_usage
    where is_complete
    group by account, timespan, grouped_by, cast(bucket_start as date)

),

dates as (

    select distinct
        account,
        timespan,
        date
    from daily

),

-- A date without rows in one grouping counts as 0 there.
compared as (

    select
        dates.account,
        dates.timespan,
        dates.date,
        loaded_groupings.grouped_by,
        coalesce(daily.usage_count, 0) as usage_count,
        max(case when loaded_groupings.grouped_by = 'usage_type' then coalesce(daily.usage_count, 0) end) over (
            partition by dates.account, dates.timespan, dates.date
        ) as priced_usage_count
    from dates
    inner join loaded_groupings
        on dates.account = loaded_groupings.account
        and dates.timespan = loaded_groupings.timespan
    left join daily
        on dates.account = daily.account
        and dates.timespan = daily.timespan
        and dates.date = daily.date
        and loaded_groupings.grouped_by = daily.grouped_by

),

final as (

    select * from compared
    where usage_count <> priced_usage_count

)

select * from final
