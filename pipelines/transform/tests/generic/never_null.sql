{# For views, on which no warehouse enforces the not_null constraint of a contract. #}
{% test never_null(model, columns) %}

select *
from {{ model }}
where
    {%- for column in columns %}
    {{ adapter.quote(column) }} is null{{ ' or' if not loop.last }}
    {%- endfor %}

{% endtest %}
