{#
    Inside the project every time is a plain `timestamp` in UTC. DuckDB and PostgreSQL show, truncate and cast a
    `timestamptz` in the time zone of the session: the same model would cut other days on a laptop than on a server.
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

{# By the clock of the session, the default on Spark, one hour a year is missing and another occurs twice. #}
{% macro spark__to_utc(timestamptz) -%}
    timestampadd(microsecond, unix_micros({{ timestamptz }}), timestamp_ntz'1970-01-01 00:00:00')
{%- endmacro %}


{# The type of such a time, without a time zone. Only DuckDB and PostgreSQL call it `timestamp`. #}
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


{# UTC to the wall clock of a time zone (an SQL expression), and back. #}
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


{# The start of a date in a time zone, in UTC. #}
{% macro start_of_date(date, timezone) -%}
    cast({{ utc_of('cast(' ~ date ~ ' as ' ~ type_utc() ~ ')', timezone) }} as {{ type_utc() }})
{%- endmacro %}


{# The first billing date that begins at or after an instant. A date that has already begun at the instant does not count. #}
{% macro first_whole_date(instant, timezone) -%}
    case
        when {{ start_of_date(billing_date(instant, timezone), timezone) }} < {{ instant }}
            then cast({{ later('day', 1, billing_date(instant, timezone)) }} as date)
        else {{ billing_date(instant, timezone) }}
    end
{%- endmacro %}


{# The billing time zone of an account: its own, else that of its provider in `billing_timezones`, else UTC. #}
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


{# The date of a UTC time on a billing calendar. UTC, the usual case, skips the conversion. #}
{% macro billing_date(utc_timestamp, timezone) -%}
    case
        when {{ timezone }} = 'UTC' then cast({{ utc_timestamp }} as date)
        else cast({{ from_utc(utc_timestamp, timezone) }} as date)
    end
{%- endmacro %}


{#
    A time so many hours, days, months or years after a time or the start of a date. On Spark, the macro of dbt goes by the
    clock of the session.
#}
{% macro later(part, count, moment) %}
    {{- return(adapter.dispatch('later', 'meterhouse')(part, count, moment)) -}}
{% endmacro %}

{% macro default__later(part, count, moment) -%}
    {{ dbt.dateadd(part, count, moment) }}
{%- endmacro %}

{% macro spark__later(part, count, moment) -%}
    timestampadd({{ part }}, {{ count }}, cast({{ moment }} as {{ type_utc() }}))
{%- endmacro %}


{# The start of the hour of a time. #}
{% macro hour_of(moment) %}
    {{- return(adapter.dispatch('hour_of', 'meterhouse')(moment)) -}}
{% endmacro %}

{% macro default__hour_of(moment) -%}
    cast({{ dbt.date_trunc('hour', moment) }} as {{ type_utc() }})
{%- endmacro %}

{% macro spark__hour_of(moment) -%}
    ({{ moment }} - make_dt_interval(0, 0, minute({{ moment }}), extract(second from {{ moment }})))
{%- endmacro %}


{# The number of hours between the hours of two times. Engines count partial hours differently. #}
{% macro hours_between(first, second) %}
    {{- return(adapter.dispatch('hours_between', 'meterhouse')(first, second)) -}}
{% endmacro %}

{% macro default__hours_between(first, second) -%}
    {{ dbt.datediff(hour_of(first), hour_of(second), 'hour') }}
{%- endmacro %}

{% macro spark__hours_between(first, second) -%}
    (
        24 * extract(day from {{ hour_of(second) }} - {{ hour_of(first) }})
        + extract(hour from {{ hour_of(second) }} - {{ hour_of(first) }})
    )
{%- endmacro %}


{#
    The number of months from the month of a date to another month, which is given by its first day. On Spark, dbt's macro
    counts only whole months, so the date is truncated to the first day of its month.
#}
{% macro months_between(date, month) -%}
    cast({{ dbt.datediff('cast(' ~ dbt.date_trunc('month', date) ~ ' as date)', month, 'month') }} as integer)
{%- endmacro %}


{# A time or a date as text. The format does not depend on the settings of the session. #}
{% macro time_text(moment) %}
    {{- return(adapter.dispatch('time_text', 'meterhouse')(moment)) -}}
{% endmacro %}

{% macro default__time_text(moment) -%}
    cast({{ moment }} as {{ dbt.type_string() }})
{%- endmacro %}

{% macro postgres__time_text(moment) -%}
    to_char({{ moment }}, 'YYYY-MM-DD HH24:MI:SS')
{%- endmacro %}

{% macro snowflake__time_text(moment) -%}
    to_char({{ moment }}, 'YYYY-MM-DD HH24:MI:SS')
{%- endmacro %}


{% macro date_text(date) %}
    {{- return(adapter.dispatch('date_text', 'meterhouse')(date)) -}}
{% endmacro %}

{% macro default__date_text(date) -%}
    cast({{ date }} as {{ dbt.type_string() }})
{%- endmacro %}

{% macro postgres__date_text(date) -%}
    to_char({{ date }}, 'YYYY-MM-DD')
{%- endmacro %}

{% macro snowflake__date_text(date) -%}
    to_char({{ date }}, 'YYYY-MM-DD')
{%- endmacro %}
