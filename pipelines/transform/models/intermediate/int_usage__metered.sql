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

{{ metered('unioned') }},

final as (

    select * from metered

)

select * from final
