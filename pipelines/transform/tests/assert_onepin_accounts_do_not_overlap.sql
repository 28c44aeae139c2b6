-- One row per workspace and day of Onepin that two configured accounts report.
-- A key is bound to one workspace, and a workspace may have many keys, so that two of them would bill it twice.
-- It waits for the marts, so that what it finds is reported beside the numbers and does not keep them from being built.
-- depends_on: {{ ref('cost_monthly') }}

with

usage_daily as (

    select * from {{ ref('stg_onepin__usage_daily') }}

),

final as (

    select
        workspace_id,
        date,
        min(account) as account,
        max(account) as other_account,
        'Both accounts report this workspace, so that it would be billed twice: remove one of them.' as message
    from usage_daily
    group by workspace_id, date
    having min(account) <> max(account)

)

select * from final
