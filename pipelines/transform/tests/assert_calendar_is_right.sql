-- One row per wrong date of the calendar: five known dates, and the length of the whole.

with

calendar as (

    {{ calendar() }}

),

known as (

    {% for date, weekday, date_a_month_before in [
        ('2018-01-01', 1, '2017-12-01'),
        ('2024-03-31', 7, '2024-02-29'),
        ('2025-03-31', 1, '2025-02-28'),
        ('2026-05-30', 6, '2026-04-30'),
        ('2026-05-31', 7, '2026-04-30'),
    ] -%}
    select
        cast('{{ date }}' as date) as date,
        {{ weekday }} as weekday,
        cast('{{ date_a_month_before }}' as date) as date_a_month_before
    {%- if not loop.last %}
    union all
    {% endif -%}
    {%- endfor %}

),

wrong as (

    select known.date
    from known
    left join calendar
        on known.date = calendar.date
        and known.weekday = calendar.weekday
        and known.date_a_month_before = calendar.date_a_month_before
    where calendar.date is null

),

cut as (

    select max(date) as date
    from calendar
    having count(*) <> 10000 or max(date) <> {{ later('day', 9999, 'min(date)') }}

),

final as (

    select * from wrong
    union all
    select * from cut

)

select * from final
