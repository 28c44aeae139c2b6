{#
    The quotient of two decimals to nine places. DuckDB divides decimals as doubles, whose sixteen digits are not enough
    for money: what the double left over is divided once more, which makes the quotient good to the last place.
#}
{% macro divided(numerator, denominator) %}
    {{- return(adapter.dispatch('divided', 'meterhouse')(numerator, denominator)) -}}
{% endmacro %}

{% macro default__divided(numerator, denominator) -%}
    cast({{ numerator }} / {{ denominator }} as numeric(28, 9))
{%- endmacro %}

{% macro duckdb__divided(numerator, denominator) -%}
    {%- set quotient -%} cast({{ numerator }} / {{ denominator }} as numeric(28, 9)) {%- endset -%}
    {%- set left_over -%} ({{ numerator }} - {{ quotient }} * {{ denominator }}) {%- endset -%}
    cast({{ quotient }} + cast({{ left_over }} / {{ denominator }} as numeric(28, 9)) as numeric(28, 9))
{%- endmacro %}
