{#
    The raw tables that usage by the day is read from, each with the meters that it brings (none named: all that no other
    table of the provider brings) and, where a table keeps several series of one usage, the parts of the one that is read.
    The first table of a provider is the one that is billed.
#}
{% macro metered_tables() %}
    {{- return([
        {'provider': 'mathpix', 'resource': 'ocr_usage_by_usage_type'},
        {'provider': 'reducto', 'resource': 'usage_by_product'},
        {'provider': 'onepin', 'resource': 'usage_daily'},
        {'provider': 'scopix', 'resource': 'usage_daily'},
        {'provider': 'scopix', 'resource': 'usage_by_period', 'meters': ['requests'], 'parts': 'hour%'},
        {'provider': 'scopix', 'resource': 'tokens_daily', 'meters': ['input-tokens', 'output-tokens']},
    ]) -}}
{% endmacro %}


{# Which of them a meter is read from. #}
{% macro metered_table(provider, meter) -%}
    case
        {%- for table in metered_tables() if table.meters %}
        when {{ provider }} = '{{ table.provider }}' and {{ meter }} in ('{{ table.meters | join("', '") }}')
            then '{{ table.resource }}'
        {%- endfor %}
        {%- for table in metered_tables() if not table.meters %}
        when {{ provider }} = '{{ table.provider }}' then '{{ table.resource }}'
        {%- endfor %}
    end
{%- endmacro %}
