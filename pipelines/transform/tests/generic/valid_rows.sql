{#
    The model has one row per combination of the columns of `grain`, which its first sentence states. The columns of
    `never_null` have no null, and the columns of `accepted_values` have only these values. One query checks the whole
    relation, and each failure is a row with the reason. The test also covers views, on which no warehouse enforces the
    constraints of a contract. `quoted`: the names of the columns need quotes.
#}
{% test valid_rows(model, grain=[], never_null=[], accepted_values={}, quoted=false) %}

{%- set checks = [] %}
{%- if grain %}
{%- set columns = [] %}
{%- for column in grain %}{% do columns.append(adapter.quote(column) if quoted else column) %}{% endfor %}
{%- set doubled %}
select '{{ grain | join(', ') }} is not unique' as failure
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% endset %}
{%- do checks.append(doubled) %}
{%- endif %}

{%- set reasons = {} %}
{%- for column in never_null %}
{%- do reasons.update({column ~ ' is null': (adapter.quote(column) if quoted else column) ~ ' is null'}) %}
{%- endfor %}
{%- for column, values in accepted_values.items() %}
{%- do reasons.update({column ~ ' has another value': column ~ " not in ('" ~ values | join("', '") ~ "')"}) %}
{%- endfor %}
{%- if reasons %}
{%- set invalid %}
select
    case
        {%- for reason, condition in reasons.items() %}
        when {{ condition }} then '{{ reason }}'
        {%- endfor %}
    end as failure
from {{ model }}
where
    {%- for condition in reasons.values() %}
    {{ condition }}{{ ' or' if not loop.last }}
    {%- endfor %}
{% endset %}
{%- do checks.append(invalid) %}
{%- endif %}

{{ checks | join('\nunion all\n') }}

{% endtest %}
