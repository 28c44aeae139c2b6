{#
    The share of the first `cumulative` of `whole` in an amount of nine decimals, rounded half away from zero to nine
    decimals. A part is the difference of two such shares. However the parts are cut, together they are exactly the amount,
    and none differs from its exact share by more than one unit of the last place.

    It is computed in whole numbers, because DuckDB divides decimals as doubles. The product of an amount and a quantity must
    stay below 8 * 10^19, and on Spark a result below 10^15.
#}
{% macro allocated(amount, cumulative, whole) -%}
    {%- set amount_units = nine_decimals_as_whole_number(amount) -%}
    {%- set cumulative_units = nine_decimals_as_whole_number(cumulative) -%}
    {%- set whole_units = nine_decimals_as_whole_number(whole) -%}
    cast(
        cast(
            {{ signum(amount) }} * {{ signum(cumulative) }} * {{ signum(whole) }} * {{ integer_quotient(
                '2 * abs(' ~ amount_units ~ ') * abs(' ~ cumulative_units ~ ') + abs(' ~ whole_units ~ ')',
                'nullif(2 * abs(' ~ whole_units ~ '), 0)',
            ) }} as numeric(28, 0)
        ) * cast(0.000000001 as numeric(9, 9)) as numeric(28, 9)
    )
{%- endmacro %}


{#
    1, 0 or -1. `sign` returns a double on Spark and, for whole numbers, on PostgreSQL, which would turn every product into a
    double.
#}
{% macro signum(value) -%}
    cast(sign({{ value }}) as integer)
{%- endmacro %}


{% macro nine_decimals_as_whole_number(value) %}
    {{- return(adapter.dispatch('nine_decimals_as_whole_number', 'meterhouse')(value)) -}}
{% endmacro %}

{% macro default__nine_decimals_as_whole_number(value) -%}
    cast(cast({{ value }} as numeric(28, 9)) * 1000000000 as numeric(38, 0))
{%- endmacro %}

{# A decimal of DuckDB has at most 38 digits, and the product would need some of them for decimals. #}
{% macro duckdb__nine_decimals_as_whole_number(value) -%}
    cast(cast({{ value }} as numeric(28, 9)) * 1000000000 as hugeint)
{%- endmacro %}

{# A decimal of BigQuery has at most 29 digits before the point; a bignumeric has more. #}
{% macro bigquery__nine_decimals_as_whole_number(value) -%}
    cast(cast({{ value }} as bignumeric) * 1000000000 as bignumeric)
{%- endmacro %}


{# The quotient of two whole numbers, without its fraction. #}
{% macro integer_quotient(dividend, divisor) %}
    {{- return(adapter.dispatch('integer_quotient', 'meterhouse')(dividend, divisor)) -}}
{% endmacro %}

{% macro default__integer_quotient(dividend, divisor) -%}
    div({{ dividend }}, {{ divisor }})
{%- endmacro %}

{% macro duckdb__integer_quotient(dividend, divisor) -%}
    (({{ dividend }}) // ({{ divisor }}))
{%- endmacro %}

{#
    Snowflake has no whole-number division, and that of Databricks ends at 64 bits. Without its remainder, the dividend has a
    quotient without a fraction, which no engine can round up.
#}
{% macro snowflake__integer_quotient(dividend, divisor) -%}
    (({{ dividend }} - mod({{ dividend }}, {{ divisor }})) / {{ divisor }})
{%- endmacro %}

{# Spark leaves the quotient more digits if the divisor has fewer; twice a numeric(28, 9) has 29 digits as a whole number. #}
{% macro spark__integer_quotient(dividend, divisor) -%}
    (({{ dividend }} - mod({{ dividend }}, {{ divisor }})) / cast({{ divisor }} as numeric(29, 0)))
{%- endmacro %}
