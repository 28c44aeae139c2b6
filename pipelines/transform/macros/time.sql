{#
    Inside the project every time is a plain `timestamp` that means UTC. A `timestamptz` is not kept: DuckDB and
    PostgreSQL show, truncate and cast it in the time zone of the session, so that the same model would cut other
    days on a laptop than on a server.
#}
{% macro to_utc(timestamptz) %}
    {{- return(adapter.dispatch('to_utc', 'meterhouse')(timestamptz)) -}}
{% endmacro %}

{% macro default__to_utc(timestamptz) -%}
    {{ timestamptz }} at time zone 'UTC'
{%- endmacro %}


{% macro from_utc(utc_timestamp, timezone) %}
    {{- return(adapter.dispatch('from_utc', 'meterhouse')(utc_timestamp, timezone)) -}}
{% endmacro %}

{% macro default__from_utc(utc_timestamp, timezone) -%}
    {{ utc_timestamp }} at time zone 'UTC' at time zone '{{ timezone }}'
{%- endmacro %}


{# The date of a UTC time on the calendar by which the provider bills. #}
{% macro billing_date(provider, utc_timestamp) -%}
    {%- set timezones = var('billing_timezones') -%}
    {%- if timezones -%}
    case {{ provider }}
        {%- for name, timezone in timezones.items() %}
        when '{{ name }}' then cast({{ from_utc(utc_timestamp, timezone) }} as date)
        {%- endfor %}
        else cast({{ utc_timestamp }} as date)
    end
    {%- else -%}
    cast({{ utc_timestamp }} as date)
    {%- endif -%}
{%- endmacro %}
