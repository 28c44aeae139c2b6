-- One row per provider, billing account, account, billing month, currency and owner: the owner's part of `cost_forecast_monthly`.
-- The owners of an account add up to its cost to date and to its forecast, to the last decimal.
-- The cost to date is that of the days in `cost_by_owner_daily`. The owners share what the forecast adds to it, in
-- proportion to their cost of the last 28 complete days: four of each weekday. If owners changed in these days, only the
-- cost since the last change counts. A future change of owners has no effect.
-- `unowned` also has cost without a day, such as monthly fees, and what the forecast of an account without recent cost adds.
-- Longer than 200 lines: costs, forecasts and converted costs are divided alike.
-- A mart of its own, because `cost_forecast_monthly` has one row per account: rows of owners would count its cost twice.

{%- set month = ['provider', 'billing_account', 'account', 'billing_month', 'currency'] %}
{%- set amounts = ['cost_to_date', 'forecast', 'effective_cost_to_date', 'effective_forecast'] %}
{%- set converted = ['reporting_cost_to_date', 'reporting_effective_cost_to_date'] %}
{%- set all_amounts = amounts + (converted if reporting_currency() else []) %}

with

forecasts as (

    select * from {{ ref('cost_forecast_monthly') }}

),

cost_by_owner_daily as (

    select * from {{ ref('cost_by_owner_daily') }}

),

cost_monthly as (

    select * from {{ ref('cost_monthly') }}

),

owners as (

    select * from {{ ref('stg_billing__owners') }}

),

accounts as (

    select * from {{ ref('int_accounts__completed') }}

),

changes as (

    select provider, account, valid_from as date from owners
    union all
    select provider, account, valid_to as date from owners where valid_to is not null

),

windows as (

    select
        accounts.provider,
        accounts.account,
        accounts.complete_before_date as window_end,
        greatest(
            cast({{ later('day', -28, 'accounts.complete_before_date') }} as date),
            coalesce(max(changes.date), cast({{ later('day', -28, 'accounts.complete_before_date') }} as date))
        ) as window_start
    from accounts
    left join changes
        on (changes.provider is null or changes.provider = accounts.provider)
        and (changes.account is null or changes.account = accounts.account)
        and changes.date < accounts.complete_before_date
    group by accounts.provider, accounts.account, accounts.complete_before_date

),

{{ shared_forecasts('cost_by_owner_daily', ['team', 'cost_centre']) }},

owned as (

    select
        {% for column in month %}forecasts.{{ column }},
        {% endfor -%}
        days.team,
        days.cost_centre,
        days.billed_cost as cost_to_date,
        days.billed_cost as forecast,
        days.effective_cost as effective_cost_to_date,
        days.effective_cost as effective_forecast
        {%- if reporting_currency() %},
        days.reporting_cost as reporting_cost_to_date,
        days.reporting_effective_cost as reporting_effective_cost_to_date
        {%- endif %}
    from cost_by_owner_daily as days
    inner join forecasts
        on days.provider = forecasts.provider
        and days.billing_account = forecasts.billing_account
        and days.account = forecasts.account
        and cast({{ dbt.date_trunc('month', 'days.date') }} as date) = forecasts.billing_month
        and days.currency = forecasts.currency

    union all

    select
        {{ (month + ['team', 'cost_centre'] + amounts) | join(',\n        ') }}
        {%- if reporting_currency() %},
        0 as reporting_cost_to_date,
        0 as reporting_effective_cost_to_date
        {%- endif %}
    from shared_forecasts

),

{%- if reporting_currency() %}

-- The cost of the month in the reporting currency; null if the rate of any part is missing.
converted_months as (

    select
        {{ month | join(', ') }}
        {%- for cost in ['reporting_cost', 'reporting_effective_cost'] %},
        case when count(*) = count({{ cost }}) then sum({{ cost }}) end as {{ cost }}_to_date
        {%- endfor %}
    from cost_monthly
    group by {{ month | join(', ') }}

),
{%- endif %}

unioned as (

    select
        {{ (month + ['team', 'cost_centre'] + all_amounts) | join(',\n        ') }}
    from owned

    union all

    select
        {{ month | join(',\n        ') }},
        'unowned' as team,
        '' as cost_centre,
        {% for amount in all_amounts %}-{{ amount }} as {{ amount }}{{ ',\n        ' if not loop.last }}{% endfor %}
    from owned

    union all

    select
        {% for column in month %}forecasts.{{ column }},
        {% endfor -%}
        'unowned' as team,
        '' as cost_centre,
        forecasts.cost_to_date,
        coalesce(forecasts.forecast, forecasts.cost_to_date) as forecast,
        forecasts.effective_cost_to_date,
        coalesce(forecasts.effective_forecast, forecasts.effective_cost_to_date) as effective_forecast
        {%- if reporting_currency() %},
        {%- for amount in converted %}
        -- A month that is only forecast has no cost yet.
        case when converted_months.provider is null then 0 else converted_months.{{ amount }} end as {{ amount }}{{ ',' if not loop.last }}
        {%- endfor %}
        {%- endif %}
    from forecasts
    {%- if reporting_currency() %}
    left join converted_months
        on {% for column in month %}forecasts.{{ column }} = converted_months.{{ column }}{{ '\n        and ' if not loop.last }}{% endfor %}
    {%- endif %}

),

summed as (

    select
        {{ month | join(', ') }},
        team,
        cost_centre,
        {% for amount in all_amounts -%}
        case when count(*) = count({{ amount }}) then sum({{ amount }}) end as {{ amount }}{{ ',\n        ' if not loop.last }}
        {%- endfor %}
    from unioned
    group by {{ month | join(', ') }}, team, cost_centre

),

final as (

    select
        {% for column in month %}summed.{{ column }},
        {% endfor -%}
        cast(summed.team as {{ dbt.type_string() }}) as team,
        cast(summed.cost_centre as {{ dbt.type_string() }}) as cost_centre,
        {% for amount in amounts -%}
        cast({{ 'case when forecasts.forecast is not null then ' if 'forecast' in amount }}summed.{{ amount }}
        {{- ' end' if 'forecast' in amount }} as numeric(28, 9)) as {{ amount }},
        {% endfor -%}
        cast({{ "'" ~ reporting_currency() ~ "'" if reporting_currency() else 'null' }} as {{ dbt.type_string() }})
            as reporting_currency,
        {% for amount in converted -%}
        cast({{ 'summed.' ~ amount if reporting_currency() else 'null' }} as numeric(28, 9)) as {{ amount }},
        {% endfor -%}
        forecasts.is_final
    from summed
    inner join forecasts
        on {% for column in month %}summed.{{ column }} = forecasts.{{ column }}{{ '\n        and ' if not loop.last }}{% endfor %}
    where {% for amount in amounts %}summed.{{ amount }} <> 0{{ ' or ' if not loop.last }}{% endfor %}

)

select * from final
