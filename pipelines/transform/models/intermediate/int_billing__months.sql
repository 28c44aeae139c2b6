-- One row per provider, billing account and billing month. Temporary.
with months as (select distinct provider, billing_account, billing_month from {{ ref('charges') }})
select
    provider,
    billing_account,
    billing_month,
    cast(billing_month as timestamp) as month_start,
    cast({{ dbt.dateadd('month', 1, 'billing_month') }} as timestamp) as month_end,
    false as is_closed,
    true as is_complete
from months
