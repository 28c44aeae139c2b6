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


{# UTC to the wall clock of a time zone, which is an SQL expression, and back. #}
{% macro from_utc(utc_timestamp, timezone) %}
    {{- return(adapter.dispatch('from_utc', 'meterhouse')(utc_timestamp, timezone)) -}}
{% endmacro %}

{% macro default__from_utc(utc_timestamp, timezone) -%}
    ({{ utc_timestamp }}) at time zone 'UTC' at time zone {{ timezone }}
{%- endmacro %}


{% macro utc_of(local_timestamp, timezone) %}
    {{- return(adapter.dispatch('utc_of', 'meterhouse')(local_timestamp, timezone)) -}}
{% endmacro %}

{% macro default__utc_of(local_timestamp, timezone) -%}
    ({{ local_timestamp }}) at time zone {{ timezone }} at time zone 'UTC'
{%- endmacro %}


{# The time zone in which an account is billed: its own, else its provider's of the variable, else UTC. #}
{% macro billing_timezone(provider, own) -%}
    {%- set timezones = var('billing_timezones') -%}
    coalesce(
        nullif({{ own }}, ''),
        {%- if timezones %}
        case {{ provider }}
            {%- for name, timezone in timezones.items() %}
            when '{{ name }}' then '{{ timezone }}'
            {%- endfor %}
        end,
        {%- endif %}
        'UTC'
    )
{%- endmacro %}


{# The date of a UTC time on a billing calendar. UTC itself, the usual case, is spared the way through the zones. #}
{% macro billing_date(utc_timestamp, timezone) -%}
    case
        when {{ timezone }} = 'UTC' then cast({{ utc_timestamp }} as date)
        else cast({{ from_utc(utc_timestamp, timezone) }} as date)
    end
{%- endmacro %}
