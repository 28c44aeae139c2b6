-- One row per request, file or conversation of Scopix that two configured accounts report.
-- An API key sees its whole tenant, so that two keys of one tenant would bill everything twice.
-- The test waits for the marts: it reports a failure beside the numbers, and does not keep them from being built.
-- depends_on: {{ ref('cost_monthly') }}

with

final as (

    {% for table, id in {'usage_events': 'event_id', 'file_tokens': 'image_id', 'conversation_tokens': 'session_id'}.items() -%}
    select
        '{{ table }}' as table_name,
        {{ id }} as id,
        account,
        other_account,
        message
    from (
        {{ reported_by_two_accounts(ref('stg_scopix__' ~ table), [id]) | indent(4) }}
    ) as {{ table }}
    {%- if not loop.last %}
    union all
    {% endif -%}
    {%- endfor %}

)

select * from final
