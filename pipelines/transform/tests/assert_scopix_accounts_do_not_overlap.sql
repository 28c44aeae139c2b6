-- One row per request, file or conversation of Scopix that two configured accounts report.
-- A key sees its whole tenant, so that two keys of one tenant would bill everything twice.
-- It waits for the marts, so that what it finds is reported beside the numbers and does not keep them from being built.
-- depends_on: {{ ref('cost_monthly') }}

{%- set identities = {'usage_events': 'event_id', 'file_tokens': 'image_id', 'conversation_tokens': 'session_id'} %}

with

listed as (

    {% for table, identity in identities.items() -%}
    select
        '{{ table }}' as table_name,
        {{ identity }} as identity,
        account
    from {{ ref('stg_scopix__' ~ table) }}
    {%- if not loop.last %}
    union all
    {% endif -%}
    {%- endfor %}

),

final as (

    select
        table_name,
        identity,
        min(account) as account,
        max(account) as other_account,
        'Both accounts are of one tenant, so that all usage would be billed twice: remove one of them.' as message
    from listed
    group by table_name, identity
    having min(account) <> max(account)

)

select * from final
