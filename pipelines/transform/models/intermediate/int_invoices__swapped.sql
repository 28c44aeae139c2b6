-- One row per invoice line that differs in the opposite direction of another line of its invoice, because the vendor may have
-- billed usage of the one SKU as the other.

with

reconciled as (

    select * from {{ ref('int_invoices__reconciled') }}
    where status in ('over', 'under')

),

skus as (

    select * from {{ ref('int_skus__mapped') }}

),

dearer_skus as (

    select distinct
        provider,
        sku_id,
        dearest_sku_id
    from skus
    where sku_id <> dearest_sku_id

),

swapped as (

    select
        counted.provider,
        counted.billing_account,
        counted.invoice_id,
        counted.line_number,
        dearer.line_number as dearer_line_number,
        counted.line,
        dearer.line as dearer_line,
        cast(counted.computed + dearer.computed as numeric(28, 2)) as computed,
        cast(counted.computed_high + dearer.computed_high as numeric(28, 2)) as computed_high,
        cast(counted.net + dearer.net as numeric(28, 2)) as net
    from reconciled as counted
    inner join dearer_skus
        on counted.provider = dearer_skus.provider
        and counted.line = dearer_skus.sku_id
    inner join reconciled as dearer
        on counted.provider = dearer.provider
        and counted.billing_account = dearer.billing_account
        and counted.invoice_id = dearer.invoice_id
        and counted.period_start = dearer.period_start
        and dearer_skus.dearest_sku_id = dearer.line
    where counted.difference * dearer.difference < 0

),

compared as (

    select
        *,
        {{ dbt.concat([
            "'Compare the lines '", 'line', "' and '", 'dearer_line', "' together: '",
            'cast(net as ' ~ dbt.type_string() ~ ')', "' is invoiced, and '",
            'cast(computed as ' ~ dbt.type_string() ~ ')', "' is computed, or up to '",
            'cast(computed_high as ' ~ dbt.type_string() ~ ')', "' if all of the one is billed as the other.'",
        ]) }} as comparison,
        net >= computed and net <= computed_high as is_explained
    from swapped

),

final as (

    select provider, billing_account, invoice_id, line_number, comparison, is_explained
    from compared

    union all

    select provider, billing_account, invoice_id, dearer_line_number as line_number, comparison, is_explained
    from compared

)

select * from final
