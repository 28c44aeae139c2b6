-- One row per provider, account, meter and time bucket.
-- Each provider has a model `int_<provider>__metered` that maps its authoritative grouping to these columns. A meter without
-- a SKU stays, without SKU and unit, so that `unpriced_usage` can list it.

{%- set providers = provider_names() %}

with

{% for provider in providers -%}
{{ provider }} as (

    select * from {{ ref('int_' ~ provider ~ '__metered') }}

),

{% endfor -%}

skus as (

    select * from {{ ref('int_skus__mapped') }}

),

billing_accounts as (

    select * from {{ ref('stg_billing__accounts') }}

),

unioned as (

    {% for provider in providers -%}
    select
        '{{ provider }}' as provider,
        account,
        meter,
        timespan,
        bucket_start,
        bucket_end,
        quantity,
        request_count,
        is_complete
    from {{ provider }}
    {%- if not loop.last %}

    union all

    {% endif -%}
    {%- endfor %}

),

owned as (

    select
        unioned.*,
        coalesce(nullif(billing_accounts.billing_account, ''), unioned.account) as billing_account,
        {{ billing_timezone('unioned.provider', 'billing_accounts.billing_timezone') }} as billing_timezone
    from unioned
    left join billing_accounts
        on unioned.provider = billing_accounts.provider
        and unioned.account = billing_accounts.account

),

-- Days, weeks and months are already calendar units of the vendor. A time zone must not shift them: the day would begin on
-- the evening before, and the first of a month would be billed with the month before.
dated as (

    select
        *,
        case
            when timespan = 'hour' then {{ billing_date('bucket_start', 'billing_timezone') }}
            else cast(bucket_start as date)
        end as billing_date
    from owned

),

final as (

    select
        cast(dated.provider as {{ dbt.type_string() }}) as provider,
        cast(dated.billing_account as {{ dbt.type_string() }}) as billing_account,
        dated.account,
        cast(dated.billing_timezone as {{ dbt.type_string() }}) as billing_timezone,
        cast(dated.meter as {{ dbt.type_string() }}) as meter,
        cast(dated.timespan as {{ dbt.type_string() }}) as timespan,
        dated.bucket_start,
        dated.bucket_end,
        dated.billing_date,
        cast({{ dbt.date_trunc('month', 'dated.billing_date') }} as date) as billing_month,
        case when skus.is_billed then skus.sku_id end as sku_id,
        case when skus.is_billed then skus.dearest_sku_id end as dearest_sku_id,
        skus.unit,
        cast(dated.quantity as numeric(28, 9)) as quantity,
        cast(dated.request_count as bigint) as request_count,
        coalesce(skus.is_billed, true) as is_billed,
        dated.is_complete
    from dated
    left join skus
        on dated.provider = skus.provider
        and dated.meter = skus.meter

)

select * from final
