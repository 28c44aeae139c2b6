{# The date of a UTC time in the IANA time zone that a column names. #}
{% macro local_date(utc_timestamp, timezone_column) -%}
    cast({{ from_utc(utc_timestamp, timezone_column) }} as date)
{%- endmacro %}
