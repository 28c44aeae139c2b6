-- One row per Mathpix app that two configured accounts report for the same time.
-- A key of Mathpix seems to see the usage of its whole group, so two keys of one group would be billed twice here. The
-- overlap is invisible where the API leaves the app out or puts several apps into one row.
-- The test waits for the marts: it reports a failure beside the numbers, and does not keep them from being built.
-- depends_on: {{ ref('cost_monthly') }}

with

ocr_usage as (

    select * from {{ ref('stg_mathpix__ocr_usage') }}

),

-- By month, so that an account that was renamed once does not count as two.
app_spans as (

    select
        account,
        group_id,
        app_id,
        {{ dbt.date_trunc('month', 'bucket_start') }} as month,
        min(bucket_start) as span_start,
        max(bucket_end) as span_end
    from ocr_usage
    where app_id <> '' and app_id not like '[%'
    group by account, group_id, app_id, {{ dbt.date_trunc('month', 'bucket_start') }}

),

final as (

    select
        one.group_id,
        one.app_id,
        one.account as account,
        other.account as other_account,
        one.month,
        'Both accounts report this app, so that it would be billed twice: remove one of the two from the configuration.'
            as message
    from app_spans as one
    inner join app_spans as other
        on one.group_id = other.group_id
        and one.app_id = other.app_id
        and one.month = other.month
        and one.account < other.account
        and one.span_start < other.span_end
        and other.span_start < one.span_end

)

select * from final
