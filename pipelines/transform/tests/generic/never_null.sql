{#
    One test a relation in place of dbt's one a column, because each is a query of its own. Also for views, on which no
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
