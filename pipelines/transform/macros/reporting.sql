{#
    The currency into which the marts convert all cost: the variable `reporting_currency`, or what `meterhouse` passes in the
    environment (see `as_of`). Empty if there is none; then the columns of the conversion are null.
#}
{% macro reporting_currency() %}
    {%- set currency = var('reporting_currency', none) or env_var('METERHOUSE_REPORTING_CURRENCY', '') -%}
    {%- if currency and not modules.re.fullmatch('[A-Z]{3}', currency | string) -%}
        {{ exceptions.raise_compiler_error('the variable reporting_currency is not a currency code such as EUR: ' ~ currency) }}
    {%- endif -%}
    {{- return(currency) -}}
{% endmacro %}


{# The type of an exchange rate. A numeric of BigQuery has at most nine decimals. #}
{% macro type_rate() -%}
    {{ 'bignumeric' if target.type == 'bigquery' else 'numeric' }}(28, 12)
{%- endmacro %}


{# The columns of the conversion, with their types. #}
{% macro reporting_columns() %}
    {{- return({
        'reporting_currency': dbt.type_string(),
        'reporting_cost': 'numeric(28, 9)',
        'reporting_effective_cost': 'numeric(28, 9)',
        'fx_rate': type_rate(),
        'fx_date': 'date',
    }) -}}
{% endmacro %}


{# The columns of the conversion from a relation, or nulls without a reporting currency. #}
{% macro select_reporting(relation) -%}
    {%- for column, type in reporting_columns().items() %}
        cast({{ relation ~ '.' ~ column if reporting_currency() else 'null' }} as {{ type }}) as {{ column }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}


{#
    Aggregates for the columns of the conversion; nulls without a reporting currency. The cost is null if the rate of any row is
    missing. The rate and its date are null unless all rows have the same. `rows` is an expression that is null in rows without
    cost to convert.
#}
{% macro aggregate_reporting(rows='*') -%}
    {%- if reporting_currency() %}
        max(reporting_currency) as reporting_currency,
        {%- for cost in ['reporting_cost', 'reporting_effective_cost'] %}
        case when count(reporting_cost) = count({{ rows }}) then coalesce(sum({{ cost }}), 0) end as {{ cost }},
        {%- endfor %}
        {%- for column in ['fx_rate', 'fx_date'] %}
        case when count(fx_rate) = count({{ rows }}) and min({{ column }}) = max({{ column }}) then max({{ column }}) end
            as {{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    {%- else %}
        {%- for column, type in reporting_columns().items() %}
        cast(null as {{ type }}) as {{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    {%- endif %}
{%- endmacro %}
