-- One row per organisation of Reducto that two configured accounts report for the same day.
-- A personal key sees every organisation that its owner is a member of, so that the keys of two colleagues would bill one
-- organisation twice.
-- It waits for the marts, so that what it finds is reported beside the numbers and does not keep them from being built.
-- depends_on: {{ ref('cost_monthly') }}

with

usage as (

    select * from {{ ref('stg_reducto__usage') }}

),

final as (

    select
        org_id,
        date,
        min(account) as account,
        max(account) as other_account,
        'Both accounts report this organisation, so that it would be billed twice: remove it from one of them.' as message
    from usage
    where grouped_by = 'product'
    group by org_id, date
    having min(account) <> max(account)

)

select * from final
