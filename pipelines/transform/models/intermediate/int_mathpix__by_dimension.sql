-- One row per account, dimension, value, date and meter of Mathpix.
-- Each grouping by one dimension is a dimension. A row by app or by hash has a usage type if all its usage is of one type. If
-- not, the API leaves the type out or collapses the types, and the count cannot be divided into pages and images: the meter is
-- null.
-- The grouping by type and app states the type of each row, but only the vendor's clients document it, and a server may
-- ignore one of the two dimensions. Its rows replace those by app on days on which the total of each type and each app is
-- that of its own grouping. On other days they are used only if there are no rows by app, and then without a meter. Running
-- hours are not compared: they grow between the requests.
-- Weeks and months are left out, because they have no date.

with

ocr_usage as (

    select * from {{ ref('stg_mathpix__ocr_usage') }}

),

valued as (

    select
        account,
        grouped_by,
        case grouped_by
            when 'usage_type' then usage_type
            when 'request_args_hash' then request_args_hash
            else app_id
        end as value,
        cast(bucket_start as date) as date,
        case
            when grouped_by in ('usage_type', 'usage_type_and_app_id') or (usage_type <> '' and usage_type not like '[%')
                then usage_type
        end as meter,
        usage_count,
        case when is_complete then usage_count else 0 end as complete_count
    from ocr_usage
    where timespan in ('hour', 'day')

),

summed as (

    select
        account,
        grouped_by,
        value,
        date,
        meter,
        sum(usage_count) as quantity,
        sum(complete_count) as complete_quantity
    from valued
    group by account, grouped_by, value, date, meter

),

days as (

    select
        account,
        date,
        max(case when grouped_by = 'app_id' then 1 else 0 end) as has_apps,
        max(case when grouped_by = 'usage_type_and_app_id' then 1 else 0 end) as has_types_of_apps
    from summed
    group by account, date

),

-- Without the grouping by app, only the types are compared.
deviating_days as (

    select
        account,
        date
    from summed
    where grouped_by in ('usage_type', 'usage_type_and_app_id')
    group by account, date, meter
    having sum(case grouped_by when 'usage_type' then complete_quantity else -complete_quantity end) <> 0

    union distinct

    select
        summed.account,
        summed.date
    from summed
    inner join days
        on summed.account = days.account
        and summed.date = days.date
        and days.has_apps = 1
    where summed.grouped_by in ('app_id', 'usage_type_and_app_id')
    group by summed.account, summed.date, summed.value
    having sum(case summed.grouped_by when 'app_id' then summed.complete_quantity else -summed.complete_quantity end) <> 0

    union distinct

    -- Without a complete bucket, nothing has been compared.
    select
        account,
        date
    from summed
    where grouped_by = 'usage_type'
    group by account, date
    having max(complete_quantity) = 0

),

groupings_by_app as (

    select
        days.account,
        days.date,
        case
            when days.has_types_of_apps = 1 and deviating_days.date is null then 'usage_type_and_app_id'
            when days.has_apps = 1 then 'app_id'
            else 'usage_type_and_app_id'
        end as grouped_by,
        deviating_days.date is not null as is_deviating
    from days
    left join deviating_days
        on days.account = deviating_days.account
        and days.date = deviating_days.date

),

chosen as (

    select
        summed.account,
        case when summed.grouped_by = 'usage_type_and_app_id' then 'app_id' else summed.grouped_by end as dimension,
        summed.value,
        summed.date,
        case
            when summed.grouped_by <> 'usage_type_and_app_id' or not groupings_by_app.is_deviating then summed.meter
        end as meter,
        summed.quantity
    from summed
    inner join groupings_by_app
        on summed.account = groupings_by_app.account
        and summed.date = groupings_by_app.date
    where
        summed.grouped_by in ('usage_type', 'request_args_hash')
        or summed.grouped_by = groupings_by_app.grouped_by

),

final as (

    select
        account,
        dimension,
        value,
        date,
        meter,
        cast(sum(quantity) as numeric(28, 9)) as quantity
    from chosen
    group by account, dimension, value, date, meter

)

select * from final
