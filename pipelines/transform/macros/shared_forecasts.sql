{#
    CTEs that end in `shared_forecasts`: what the forecast of a running month adds to its cost to date, divided among the
    values of the columns `names` in proportion to their recent cost. The parts add up to it, to the last decimal, in each
    group of the columns `within`. An account without recent cost has no parts. If all recent cost of one type is 0, for
    example because credits pay the billed cost, the proportions are those of the other type.

    The model defines three CTEs: `forecasts`, with the columns of `cost_forecast_monthly`; `windows`, with the recent days
    of each account, from `window_start` until before `window_end`; and the one that the argument `days` names, with the cost
    by day. Rows are ordered by a hash, because collations differ.
#}
{% macro shared_forecasts(days, names, within=[]) %}
    {%- set group = ['provider', 'account', 'currency'] + within %}
    {%- set costs = [('billed', '', 'effective'), ('effective', 'effective_', 'billed')] %}
    recent_costs as (

        select
            {% for column in group + names %}days.{{ column }},
            {% endfor -%}
            sum(greatest(days.billed_cost, 0)) as billed_cost,
            sum(greatest(days.effective_cost, 0)) as effective_cost
        from {{ days }} as days
        inner join windows
            on days.provider = windows.provider
            and days.account = windows.account
            and days.date >= windows.window_start
            and days.date < windows.window_end
        group by {% for column in group + names %}days.{{ column }}{{ ', ' if not loop.last }}{% endfor %}

    ),

    weighted as (

        select
            *,
            {% for cost, prefix, other in costs -%}
            case
                when sum({{ cost }}_cost) over (partition by {{ group | join(', ') }}) > 0 then {{ cost }}_cost
                else {{ other }}_cost
            end as {{ cost }}_weight{{ ',' if not loop.last }}
            {% endfor %}
        from recent_costs

    ),

    cumulated as (

        select
            *,
            {% for cost, prefix, other in costs -%}
            sum({{ cost }}_weight) over (
                partition by {{ group | join(', ') }}
                order by {% for name in names %}{{ dbt.hash(name) }}{{ ', ' if not loop.last }}{% endfor %}
                rows between unbounded preceding and current row
            ) as cumulative_{{ cost }}_weight,
            sum({{ cost }}_weight) over (partition by {{ group | join(', ') }}) as total_{{ cost }}_weight{{ ',' if not loop.last }}
            {% endfor %}
        from weighted

    ),

    shared_forecasts as (

        select
            forecasts.provider,
            forecasts.billing_account,
            forecasts.account,
            forecasts.billing_month,
            forecasts.currency
            {%- for column in within + names %},
            cumulated.{{ column }}
            {%- endfor %}
            {%- for cost, prefix, other in costs -%}
            {%- set remaining = 'forecasts.' ~ prefix ~ 'forecast - forecasts.' ~ prefix ~ 'cost_to_date' -%}
            {%- set weight, total = 'cumulated.cumulative_' ~ cost ~ '_weight', 'cumulated.total_' ~ cost ~ '_weight' %},
            cast(0 as numeric(28, 9)) as {{ prefix }}cost_to_date,
            {{ allocated(remaining, weight, total) }}
            - {{ allocated(remaining, weight ~ ' - cumulated.' ~ cost ~ '_weight', total) }} as {{ prefix }}forecast
            {%- endfor %}
        from forecasts
        inner join cumulated
            on forecasts.provider = cumulated.provider
            and forecasts.account = cumulated.account
            and forecasts.currency = cumulated.currency
        where forecasts.remaining_days > 0 and forecasts.forecast is not null and cumulated.total_billed_weight > 0

    )
{%- endmacro %}
