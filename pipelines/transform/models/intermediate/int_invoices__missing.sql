-- One row per provider, billing account, month, SKU and currency of charges that no invoice line covers. A provider without
-- any invoice has one row for all of its charges instead.

with

computed as (

    select * from {{ ref('int_invoices__computed') }}
    where invoice_id is null

),

compared as (

    select * from {{ ref('int_invoices__compared') }}

),

invoices as (

    select * from {{ ref('stg_billing__invoices') }}

),

invoicing_providers as (

    select distinct provider
    from invoices

),

invoiced_until as (

    select
        provider,
        billing_account,
        max(period_end) as invoiced_until
    from compared
    where invoice_status = 'issued' and depends_on_usage
    group by provider, billing_account

),

rounded as (

    select
        computed.provider,
        computed.billing_account,
        computed.billing_month,
        cast({{ later('month', 1, 'computed.billing_month') }} as date) as next_month,
        computed.sku_id,
        {{ rounded_to_currency('computed.billed_cost', 'computed.currency') }} as computed,
        {{ rounded_to_currency('computed.cost_high', 'computed.currency') }} as computed_high,
        computed.quantity,
        computed.currency,
        not computed.has_only_purchases as depends_on_usage,
        computed.is_mismatched,
        coalesce(invoiced_until.invoiced_until > computed.first_billed_on, false) as is_passed_over,
        invoicing_providers.provider is not null as has_invoices
    from computed
    left join invoicing_providers
        on computed.provider = invoicing_providers.provider
    left join invoiced_until
        on computed.provider = invoiced_until.provider
        and computed.billing_account = invoiced_until.billing_account

),

-- Amounts in several currencies do not add up.
unioned as (

    select
        provider,
        billing_account,
        sku_id as line,
        'none' as invoice_status,
        billing_month,
        next_month as period_end,
        computed,
        computed_high,
        quantity as computed_quantity,
        currency,
        depends_on_usage,
        is_mismatched,
        is_passed_over
    from rounded
    where has_invoices

    union all

    select
        provider,
        case when min(billing_account) = max(billing_account) then min(billing_account) else '' end as billing_account,
        'total' as line,
        'never' as invoice_status,
        min(billing_month) as billing_month,
        max(next_month) as period_end,
        case when min(currency) = max(currency) then sum(computed) end as computed,
        case when min(currency) = max(currency) then sum(computed_high) end as computed_high,
        null as computed_quantity,
        case when min(currency) = max(currency) then min(currency) end as currency,
        true as depends_on_usage,
        false as is_mismatched,
        false as is_passed_over
    from rounded
    where not has_invoices
    group by provider

),

final as (

    select
        provider,
        billing_account,
        cast(line as {{ dbt.type_string() }}) as line,
        cast(invoice_status as {{ dbt.type_string() }}) as invoice_status,
        billing_month,
        billing_month as period_start,
        period_end,
        cast(computed as numeric(28, 9)) as computed,
        cast(computed_high as numeric(28, 9)) as computed_high,
        cast(computed_quantity as numeric(28, 9)) as computed_quantity,
        currency,
        depends_on_usage,
        is_mismatched,
        is_passed_over
    from unioned

)

select * from final
