{#
    One row per date from 2018-01-01, a Monday before any usage, for 10,000 days: `date`, `weekday` (1 is Monday), `month`
    (its first day) and `date_a_month_before` (the last day of the month if that month is shorter).

    It is a macro instead of a model, so that unit tests need not supply it. The dates come from a product of digits, which
    needs neither a query at compile time nor a function that only some engines have.
#}
{% macro calendar() %}
    with

    digits as (

        {% for digit in range(10) -%}
        select {{ digit }} as digit
        {%- if not loop.last %}
        union all
        {% endif -%}
        {%- endfor %}

    ),

    numbers as (

        select ones.digit + 10 * tens.digit + 100 * hundreds.digit + 1000 * thousands.digit as number
        from digits as ones
        cross join digits as tens
        cross join digits as hundreds
        cross join digits as thousands

    ),

    dates as (

        select
            cast({{ later('day', 'number', "cast('2018-01-01' as date)") }} as date) as date,
            mod(number, 7) + 1 as weekday
        from numbers

    ),

    final as (

        select
            date,
            cast(weekday as integer) as weekday,
            cast({{ dbt.date_trunc('month', 'date') }} as date) as month,
            cast({{ later('month', -1, 'date') }} as date) as date_a_month_before
        from dates

    )

    select * from final
{% endmacro %}
