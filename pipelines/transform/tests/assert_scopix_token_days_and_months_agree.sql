-- One row per account and month of Scopix whose tokens are not the sum of its days.
-- Both come from one endpoint. Its documentation does not state whether the end of a window is included: if not, each month
-- would lack its last day, and each day would be empty. Only past months with all of their days count.

{{ config(severity='warn') }}

with

tokens_daily as (

    select * from {{ ref('stg_scopix__tokens_daily') }}

),

tokens_monthly as (

    select * from {{ ref('stg_scopix__tokens_monthly') }}

),

days as (

    select
        account,
        cast({{ dbt.date_trunc('month', 'date') }} as date) as month,
        count(*) as day_count,
        sum(total_tokens) as total_tokens
    from tokens_daily
    where is_complete
    group by account, cast({{ dbt.date_trunc('month', 'date') }} as date)

),

final as (

    select
        tokens_monthly.account,
        days.month,
        days.total_tokens as tokens_of_days,
        tokens_monthly.total_tokens as tokens_of_month
    from tokens_monthly
    inner join days
        on tokens_monthly.account = days.account
        and cast(tokens_monthly.bucket_start as date) = days.month
    where
        tokens_monthly.is_complete
        and days.day_count = {{ dbt.datediff('tokens_monthly.bucket_start', 'tokens_monthly.bucket_end', 'day') }}
        and days.total_tokens <> tokens_monthly.total_tokens

)

select * from final
