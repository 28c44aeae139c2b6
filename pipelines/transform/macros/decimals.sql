{#
    The quotient of two decimals of nine places, rounded half away from zero to so many places; null where the denominator is
    zero. It is computed in whole numbers, because DuckDB divides decimals as doubles, whose sixteen digits are not enough for
    money, and Spark rounds a quotient before anybody can say how.
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
    A decimal for statistics, which are doubles where the engine's deviations are. Spark would divide a decimal by a double of
    its own accord, but not before it has rounded the decimal.
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
    A setting of the session, for Spark alone; on Databricks it cannot be said to a SQL warehouse.

    Every model has to have its decimals exact. Spark gives up their last places so that the largest conceivable result would
    fit, unless it is told to keep them. What does not fit then, which takes amounts of 10^15, is an error, or null where ANSI
    mode is off, as dbt-spark has it.
#}
{% macro on_spark(setting) -%}
    {%- if target.type == 'spark' %}set {{ setting }}{% endif -%}
{%- endmacro %}
