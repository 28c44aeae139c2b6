{#
    The model has one row per combination of the columns, the grain that its first sentence states. `quoted`: the names of
    the columns need quotes.
#}
{% test unique_grain(model, columns, quoted=false) %}

{%- set grain = [] %}
{%- for column in columns %}
{%- do grain.append(adapter.quote(column) if quoted else column) %}
{%- endfor %}

select
    {{ grain | join(', ') }},
    count(*) as row_count
from {{ model }}
group by {{ grain | join(', ') }}
having count(*) > 1

{% endtest %}
