-- One row per provider whose usage is loaded and that no model covers.
-- tests/_tests.yml disables the test if each of `registered_providers` has an entry in `providers`.

{{ config(severity='warn') }}

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
