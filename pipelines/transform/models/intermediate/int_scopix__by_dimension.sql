-- One row per account, dimension, value, date and meter of Scopix.
-- Events describe each request and have no credits. Credits are reported by API key, if single keys are requested. Tokens
-- are reported by file and by conversation, each of them a part of all tokens, on the day on which the file or conversation
-- was created. A conversation of a week has all its tokens on its first day, so the remainder of that day may be negative.

with

usage_events as (

    select * from {{ ref('stg_scopix__usage_events') }}

),

usage_daily as (

    select * from {{ ref('stg_scopix__usage_daily') }}

),

file_tokens as (

    select * from {{ ref('stg_scopix__file_tokens') }}

),

conversation_tokens as (

    select * from {{ ref('stg_scopix__conversation_tokens') }}

),

measured as (

    {% for dimension in ['operation_type', 'endpoint', 'status_code', 'api_key_id'] -%}
    select
        account,
        '{{ dimension }}' as dimension,
        coalesce(cast({{ dimension }} as {{ dbt.type_string() }}), '') as value,
        cast(occurred_at as date) as date,
        'requests' as meter,
        1 as quantity
    from usage_events
    union all
    {% endfor -%}

    -- The row of all keys together has the key ''. It is the total, not a value.
    select
        account,
        'api_key_id' as dimension,
        api_key_id as value,
        date,
        'credits' as meter,
        total_credits as quantity
    from usage_daily
    where api_key_id <> ''

    {% for relation, dimension in [('file_tokens', 'image_id'), ('conversation_tokens', 'session_id')] -%}
    {% for meter, column in [('input-tokens', 'input_tokens'), ('output-tokens', 'output_tokens')] -%}
    union all
    select
        account,
        '{{ dimension }}' as dimension,
        {{ dimension }} as value,
        cast(created_at as date) as date,
        '{{ meter }}' as meter,
        {{ column }} as quantity
    from {{ relation }}
    {% endfor -%}
    {% endfor -%}

),

final as (

    select
        account,
        dimension,
        value,
        date,
        meter,
        cast(sum(coalesce(quantity, 0)) as numeric(28, 9)) as quantity
    from measured
    group by account, dimension, value, date, meter

)

select * from final
