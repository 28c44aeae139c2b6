{#
    One test per relation instead of one per column, because each test is a query. It also covers views, on which no
    warehouse enforces the not_null constraint of a contract. Only FOCUS columns, which are not lower case, need quotes.
#}
{% test never_null(model, columns) %}

select *
from {{ model }}
where
    {%- for column in columns %}
    {{ column if column == column | lower else adapter.quote(column) }} is null{{ ' or' if not loop.last }}
    {%- endfor %}

{% endtest %}
