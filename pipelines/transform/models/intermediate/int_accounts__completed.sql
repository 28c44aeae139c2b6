-- One row per provider and account.
-- An hour without usage has no row, so that no bucket of a running day or month need be marked as running. How far an
-- account is complete is therefore read from what was fetched, not from what was found: the end of the latest fetched
-- window, or of the latest complete bucket where no window was noted.

with

fetched_windows as (

    select * from {{ ref('stg_mathpix__fetched_windows') }}

),

metered_usage as (

    select * from {{ ref('int_usage__metered') }}

),

complete_spans as (

    select
        'mathpix' as provider,
        account,
        complete_until
    from fetched_windows
    where resource = 'ocr_usage_by_usage_type'

    union all

    select
        provider,
        account,
        bucket_end as complete_until
    from metered_usage
    where is_complete

),

latest as (

    select
        provider,
        account,
        max(complete_until) as complete_until
    from complete_spans
    group by provider, account

),

final as (

    select
        cast(provider as {{ dbt.type_string() }}) as provider,
        account,
        complete_until,
        cast(complete_until as date) as complete_before_date,
        {{ billing_date('provider', 'complete_until') }} as complete_before_billing_date
    from latest

)

select * from final
