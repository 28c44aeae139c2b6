-- One row per provider whose usage is loaded and that no model covers.
-- Only meterhouse passes the variable `registered_providers`. The test is disabled if each of them has an entry in `providers`.

{{ config(enabled=(unmodelled_providers() | length > 0), severity='warn') }}

with

unpriced_usage as (

    select * from {{ ref('unpriced_usage') }}

),

final as (

    select
        provider,
        sum(quantity) as row_count
    from unpriced_usage
    where reason = 'no model'
    group by provider

)

select * from final
