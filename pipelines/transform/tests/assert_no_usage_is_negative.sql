-- One row per bucket with a negative count.
-- It is charged as usage taken back, at the prices of the tiers that it came from. No vendor documents such a count, so it
-- deserves a look.

{{ config(severity='warn') }}

with

metered_usage as (

    select * from {{ ref('int_usage__metered') }}

),

final as (

    select * from metered_usage
    where quantity < 0

)

select * from final
