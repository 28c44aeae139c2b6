{#
    The quotient of two decimals of nine places, rounded half away from zero to nine places. DuckDB divides decimals as
    doubles, whose sixteen digits are not enough for money, so that there it is computed in whole numbers.
#}
{% macro divided(numerator, denominator) %}
    {{- return(adapter.dispatch('divided', 'meterhouse')(numerator, denominator)) -}}
{% endmacro %}

{% macro default__divided(numerator, denominator) -%}
    cast({{ numerator }} / {{ denominator }} as numeric(28, 9))
{%- endmacro %}

{% macro duckdb__divided(numerator, denominator) -%}
    {{ allocated(numerator, 1, denominator) }}
{%- endmacro %}
