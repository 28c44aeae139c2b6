{#
    The quotient of two decimals of nine places, rounded half away from zero to `places`; null if the denominator is zero. It
    is computed in whole numbers: DuckDB divides decimals as doubles, whose sixteen digits are too few for money, and Spark
    rounds a quotient before a cast can.
#}
{% macro divided(numerator, denominator, places=9) -%}
    {%- if places == 9 -%}
    {{ allocated(numerator, 1, denominator) }}
    {%- else -%}
    {%- set last_place = '0.' ~ '0' * (8 - places) ~ '1' -%}
    cast({{ 10 ** (9 - places) }} * {{ allocated(numerator, last_place, denominator) }} as numeric(28, 9))
    {%- endif -%}
{%- endmacro %}


{#
    An amount with the decimal places that ISO 4217 gives its currency, rounded half away from zero. `sources/billing/currencies.py`
    has the same currencies.
#}
{% macro rounded_to_currency(amount, currency) -%}
    case
            when {{ currency }} in (
                'BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'VND', 'VUV', 'XAF', 'XOF', 'XPF'
            ) then round({{ amount }}, 0)
            when {{ currency }} in ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') then round({{ amount }}, 3)
            else round({{ amount }}, 2)
        end
{%- endmacro %}


{#
    A decimal for statistics, which are doubles if the deviations of the engine are. Spark converts a decimal that is divided
    by a double, but rounds the decimal first.
#}
{% macro as_statistic(value) %}
    {{- return(adapter.dispatch('as_statistic', 'meterhouse')(value)) -}}
{% endmacro %}

{% macro default__as_statistic(value) -%}
    ({{ value }})
{%- endmacro %}

{% macro spark__as_statistic(value) -%}
    cast({{ value }} as double)
{%- endmacro %}


{#
    Sets a session setting on Spark only: a SQL warehouse of Databricks does not accept it.

    Every model needs exact decimals. By default, Spark drops the last places so that the largest conceivable result fits.
    With `allowPrecisionLoss = false` it keeps them. A result that does not fit then, from amounts of 10^15, is an error, or
    null without ANSI mode, the default of dbt-spark.
#}
{% macro on_spark(setting) -%}
    {%- if target.type == 'spark' %}set {{ setting }}{% endif -%}
{%- endmacro %}


{#
    Joins by hash on PostgreSQL, in this transaction only. It takes the size of a query's parts to be a few rows, and compares
    each row of one with each row of the other.
#}
{% macro hash_joins() -%}
    {%- if target.type == 'postgres' %}set local enable_nestloop = off{% endif -%}
{%- endmacro %}
