{# The columns of `int_usage__frozen` with their types. #}
{% macro frozen_columns() %}
    {{- return({
        'provider': dbt.type_string(),
        'account': dbt.type_string(),
        'meter': dbt.type_string(),
        'timespan': dbt.type_string(),
        'bucket_start': type_utc(),
        'bucket_end': type_utc(),
        'period_start': 'date',
        'period_end': 'date',
        'quantity': 'numeric(28, 9)',
        'event': dbt.type_string(),
        'closed_at': type_utc(),
        'invoice_id': dbt.type_string(),
        'corrected_on': 'date',
    }) -}}
{% endmacro %}


{#
    A condition: usage lies in a closed period. Hours are compared as instants, as the calendar of the billing account was when
    the period closed; a time zone that changes later moves no hour into or out of a closed period.
#}
{% macro is_in_period(usage, period) -%}
    {{ usage }}.provider = {{ period }}.provider
        and {{ usage }}.account = {{ period }}.account
        and {{ period }}.meter in ('', {{ usage }}.meter)
        and (
            (
                {{ usage }}.timespan = 'hour'
                and {{ usage }}.bucket_start >= {{ period }}.bucket_start
                and {{ usage }}.bucket_start < {{ period }}.bucket_end
            )
            or (
                {{ usage }}.timespan <> 'hour'
                and cast({{ usage }}.bucket_start as date) >= {{ period }}.period_start
                and cast({{ usage }}.bucket_start as date) < {{ period }}.period_end
            )
        )
{%- endmacro %}


{#
    The table `int_usage__frozen` of earlier builds, or no rows before the first one. It is no `ref`: the models that compute
    charges read it, and the charges decide which rows this build adds.
#}
{% macro frozen_before() %}
    {%- set relation = adapter.get_relation(this.database, this.schema, 'int_usage__frozen') if execute and flags.INTROSPECT -%}
    {%- if relation -%}
        {{ relation }}
    {%- else -%}
        (
            select
                {%- for column, type in frozen_columns().items() %}
                cast(null as {{ type }}) as {{ column }}{{ ',' if not loop.last }}
                {%- endfor %}
            limit 0
        ) as nothing_frozen
    {%- endif -%}
{% endmacro %}
