{#
    One row per date from 2018, which began on a Monday and is before any provider's usage, for 10,000 days: `date`,
    `weekday` (1 is Monday), `month` (its first day) and `date_a_month_before` (the last day of a month that is shorter).
    It is no model, so that a unit test need not give it. A product of digits, because it needs neither a query at compile
    time nor a function that only some engines have.
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
