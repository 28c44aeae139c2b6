-- One row per provider, account and table that has rows.

{%- set several_in_one = {
    'mathpix': ('stg_mathpix__ocr_usage', 'ocr_usage_by_'),
    'reducto': ('stg_reducto__usage', 'usage_by_'),
} %}
{%- set tables = {
    'onepin': ['usage_daily', 'usage_buckets', 'usage_summary', 'usage_by_language', 'usage_activity'],
    'scopix': [
        'usage_events', 'usage_by_period', 'usage_daily', 'usage_summary', 'usage_breakdown', 'usage_checks',
        'top_endpoints', 'dashboard_analytics', 'dashboard_daily_activity', 'plan_utilization', 'tokens_daily',
        'tokens_monthly', 'file_tokens', 'conversation_tokens',
    ],
} %}

with

counted as (

    {% for provider, (model, prefix) in several_in_one.items() -%}
    select
        '{{ provider }}' as provider,
        account,
        {{ dbt.concat(["'" ~ prefix ~ "'", 'grouped_by']) }} as resource,
        count(*) as row_count
    from {{ ref(model) }}
    group by account, grouped_by
    union all
    {% endfor -%}
    {% for provider, resources in tables.items() -%}
    {% set last_provider = loop.last -%}
    {% for resource in resources -%}
    select
        '{{ provider }}' as provider,
        account,
        '{{ resource }}' as resource,
        count(*) as row_count
    from {{ ref('stg_' ~ provider ~ '__' ~ resource) }}
    group by account
    {%- if not (last_provider and loop.last) %}
    union all
    {% endif -%}
    {%- endfor -%}
    {%- endfor %}

),

final as (

    select
        cast(provider as {{ dbt.type_string() }}) as provider,
        account,
        cast(resource as {{ dbt.type_string() }}) as resource,
        cast(row_count as bigint) as row_count
    from counted

)

select * from final
