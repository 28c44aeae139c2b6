-- One row per invoice line whose difference has the opposite sign of that of another line of its invoice. The vendor may
-- have billed usage of one SKU as the other.

with

reconciled as (

    select * from {{ ref('int_invoices__reconciled') }}
    where status in ('over', 'under')

),

skus as (

    select * from {{ ref('int_skus__mapped') }}

),

alternatives as (

    select distinct
        provider,
        sku_id,
        highest_priced_sku_id
    from skus
    where sku_id <> highest_priced_sku_id

),

swapped as (

    select
        counted.provider,
        counted.billing_account,
        counted.invoice_id,
        counted.line_number,
        alternative.line_number as alternative_line_number,
        counted.line,
        alternative.line as alternative_line,
        cast(counted.computed + alternative.computed as numeric(28, 2)) as computed,
        cast(counted.computed_high + alternative.computed_high as numeric(28, 2)) as computed_high,
        cast(counted.net + alternative.net as numeric(28, 2)) as net
    from reconciled as counted
    inner join alternatives
        on counted.provider = alternatives.provider
        and counted.line = alternatives.sku_id
    inner join reconciled as alternative
        on counted.provider = alternative.provider
        and counted.billing_account = alternative.billing_account
        and counted.invoice_id = alternative.invoice_id
        and counted.period_start = alternative.period_start
        and alternatives.highest_priced_sku_id = alternative.line
    where counted.difference * alternative.difference < 0

),

compared as (

    select
        *,
        {{ dbt.concat([
            "'Compare the lines '", 'line', "' and '", 'alternative_line', "' together: '",
            'cast(net as ' ~ dbt.type_string() ~ ')', "' is invoiced, '",
            'cast(computed as ' ~ dbt.type_string() ~ ')', "' is computed, and up to '",
            'cast(computed_high as ' ~ dbt.type_string() ~ ')', "' if all of '", 'line', "' is billed as '",
            'alternative_line', "'.'",
        ]) }} as comparison,
        net >= computed and net <= computed_high as is_explained
    from swapped

),

final as (

    select provider, billing_account, invoice_id, line_number, comparison, is_explained
    from compared

    union all

    select provider, billing_account, invoice_id, alternative_line_number as line_number, comparison, is_explained
    from compared

)

select * from final
