{# The date that a UTC time has in the IANA time zone that a column names. #}
{% macro local_date(utc_timestamp, timezone_column) %}
    {{- return(adapter.dispatch('local_date', 'meterhouse')(utc_timestamp, timezone_column)) -}}
{% endmacro %}

{% macro default__local_date(utc_timestamp, timezone_column) -%}
    cast({{ utc_timestamp }} at time zone 'UTC' at time zone {{ timezone_column }} as date)
{%- endmacro %}
