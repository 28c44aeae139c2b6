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

{% macro snowflake__to_utc(timestamptz) -%}
    cast(convert_timezone('UTC', {{ timestamptz }}) as {{ type_utc() }})
{%- endmacro %}

{% macro bigquery__to_utc(timestamptz) -%}
    datetime({{ timestamptz }}, 'UTC')
{%- endmacro %}

{% macro spark__to_utc(timestamptz) -%}
    cast(to_utc_timestamp({{ timestamptz }}, current_timezone()) as {{ type_utc() }})
{%- endmacro %}


{# The type of such a time: one without a time zone, which only DuckDB and PostgreSQL call `timestamp`. #}
{% macro type_utc() %}
    {{- return(adapter.dispatch('type_utc', 'meterhouse')()) -}}
{% endmacro %}

{% macro default__type_utc() -%}
    timestamp
{%- endmacro %}

{% macro snowflake__type_utc() -%}
    timestamp_ntz
{%- endmacro %}

{% macro bigquery__type_utc() -%}
    datetime
{%- endmacro %}

{% macro spark__type_utc() -%}
    timestamp_ntz
{%- endmacro %}


{# UTC to the wall clock of a time zone, which is an SQL expression, and back. #}
{% macro from_utc(utc_timestamp, timezone) %}
    {{- return(adapter.dispatch('from_utc', 'meterhouse')(utc_timestamp, timezone)) -}}
{% endmacro %}

{% macro default__from_utc(utc_timestamp, timezone) -%}
    ({{ utc_timestamp }}) at time zone 'UTC' at time zone {{ timezone }}
{%- endmacro %}

{% macro snowflake__from_utc(utc_timestamp, timezone) -%}
    convert_timezone('UTC', {{ timezone }}, {{ utc_timestamp }})
{%- endmacro %}

{% macro bigquery__from_utc(utc_timestamp, timezone) -%}
    datetime(timestamp({{ utc_timestamp }}, 'UTC'), {{ timezone }})
{%- endmacro %}

{% macro spark__from_utc(utc_timestamp, timezone) -%}
    convert_timezone('UTC', {{ timezone }}, {{ utc_timestamp }})
{%- endmacro %}


{% macro utc_of(local_timestamp, timezone) %}
    {{- return(adapter.dispatch('utc_of', 'meterhouse')(local_timestamp, timezone)) -}}
{% endmacro %}

{% macro default__utc_of(local_timestamp, timezone) -%}
    ({{ local_timestamp }}) at time zone {{ timezone }} at time zone 'UTC'
{%- endmacro %}

{% macro snowflake__utc_of(local_timestamp, timezone) -%}
    convert_timezone({{ timezone }}, 'UTC', {{ local_timestamp }})
{%- endmacro %}

{% macro bigquery__utc_of(local_timestamp, timezone) -%}
    datetime(timestamp({{ local_timestamp }}, {{ timezone }}), 'UTC')
{%- endmacro %}

{% macro spark__utc_of(local_timestamp, timezone) -%}
    convert_timezone({{ timezone }}, 'UTC', {{ local_timestamp }})
{%- endmacro %}


{# When a date begins in a time zone, in UTC. #}
{% macro start_of_date(date, timezone) -%}
    cast({{ utc_of('cast(' ~ date ~ ' as ' ~ type_utc() ~ ')', timezone) }} as {{ type_utc() }})
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
