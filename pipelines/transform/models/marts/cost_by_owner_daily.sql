-- One row per provider, billing account, account, UTC date, currency and owner.
-- The rest of a day is its cost in `cost_daily` minus the cost of mapped values. Owners of the rest share it; what then
-- remains is `unowned`. So the rows of a day add up to `cost_daily` whatever the owners are.
-- Longer than 200 lines: there are four ways to share the rest, for billed and for effective cost.

{%- set day = ['provider', 'billing_account', 'account', 'date', 'currency'] %}
{%- set measures = ['billed', 'effective'] %}

with

cost_daily as (

    select * from {{ ref('cost_daily') }}

),

owned as (

    select * from {{ ref('int_usage__owned') }}

),

rest_owners as (

    select * from {{ ref('stg_billing__owners') }}
    where dimension is null

),

totals as (

    select
        {{ day | join(', ') }},
        cast(sum(billed_cost) as numeric(28, 9)) as billed_cost,
        cast(sum(effective_cost) as numeric(28, 9)) as effective_cost,
        {{- aggregate_reporting() }},
        min(case when is_complete then 1 else 0 end) = 1 as is_complete
    from cost_daily
    group by {{ day | join(', ') }}

),

owned_costs as (

    select
        {% for column in day %}totals.{{ column }}, {% endfor %}
        owned.team,
        owned.cost_centre,
        owned.billed_cost,
        owned.effective_cost,
        owned.lowest_tags,
        owned.highest_tags
    from totals
    inner join owned
        on totals.provider = owned.provider
        and totals.account = owned.account
        and totals.date = owned.date
        and totals.currency = owned.currency

),

owned_totals as (

    select
        {{ day | join(', ') }},
        sum(billed_cost) as billed_cost,
        sum(effective_cost) as effective_cost
    from owned_costs
    group by {{ day | join(', ') }}

),

rests as (

    select
        {% for column in day %}totals.{{ column }}, {% endfor %}
        {% for measure in measures -%}
        cast(
            totals.{{ measure }}_cost - coalesce(owned_totals.{{ measure }}_cost, 0) as numeric(28, 9)
        ) as {{ measure }}_cost{{ ',' if not loop.last }}
        {% endfor %}
    from totals
    left join owned_totals
        on {% for column in day %}totals.{{ column }} = owned_totals.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}

),

matched as (

    select
        {% for column in day %}rests.{{ column }}, {% endfor %}
        rests.billed_cost,
        rests.effective_cost,
        rest_owners.team,
        rest_owners.cost_centre,
        rest_owners.tags,
        rest_owners.sharing,
        rest_owners.fixed_share,
        rest_owners.owner_row,
        case when rest_owners.account is not null then 2 else 0 end
        + case when rest_owners.provider is not null then 1 else 0 end as specificity
    from rests
    inner join rest_owners
        on (rest_owners.provider is null or rest_owners.provider = rests.provider)
        and (rest_owners.account is null or rest_owners.account = rests.account)
        and rests.date >= rest_owners.valid_from
        and (rest_owners.valid_to is null or rests.date < rest_owners.valid_to)

),

ranked as (

    select
        *,
        max(specificity) over (partition by {{ day | join(', ') }}) as highest_specificity
    from matched

),

-- The part of an owner is its weight in the weight of all: its share in 1, 1 in their number, or its own cost in the sum.
weighted as (

    select
        ranked.*,
        {% for measure in measures -%}
        cast(
            case ranked.sharing
                when 'fixed' then ranked.fixed_share
                when 'even' then 1
                else greatest(coalesce(owned_costs.{{ measure }}_cost, 0), 0)
            end as numeric(28, 9)
        ) as {{ measure }}_weight{{ ',' if not loop.last }}
        {% endfor %}
    from ranked
    left join owned_costs
        on {% for column in day %}ranked.{{ column }} = owned_costs.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}
        and ranked.team = owned_costs.team
        and ranked.cost_centre = owned_costs.cost_centre
    where ranked.specificity = ranked.highest_specificity

),

cumulated as (

    select
        *,
        {% for measure in measures -%}
        sum({{ measure }}_weight) over (
            partition by {{ day | join(', ') }}
            order by owner_row
            rows between unbounded preceding and current row
        ) as cumulative_{{ measure }}_weight,
        case
            when sharing = 'fixed' then 1
            else sum({{ measure }}_weight) over (partition by {{ day | join(', ') }})
        end as total_{{ measure }}_weight{{ ',' if not loop.last }}
        {% endfor %}
    from weighted

),

shared_costs as (

    select
        {{ day | join(', ') }},
        team,
        cost_centre,
        {% for measure in measures -%}
        {%- set cumulative, total = 'cumulative_' ~ measure ~ '_weight', 'total_' ~ measure ~ '_weight' -%}
        coalesce(
            {{ allocated(measure ~ '_cost', cumulative, total) }}
            - {{ allocated(measure ~ '_cost', cumulative ~ ' - ' ~ measure ~ '_weight', total) }}, 0
        ) as {{ measure }}_cost,
        {% endfor -%}
        coalesce(tags, '') as lowest_tags,
        coalesce(tags, '') as highest_tags
    from cumulated

),

shared_totals as (

    select
        {{ day | join(', ') }},
        sum(billed_cost) as billed_cost,
        sum(effective_cost) as effective_cost
    from shared_costs
    group by {{ day | join(', ') }}

),

unioned as (

    select * from owned_costs

    union all

    select
        {{ day | join(', ') }},
        team,
        cost_centre,
        billed_cost,
        effective_cost,
        lowest_tags,
        highest_tags
    from shared_costs

    union all

    select
        {% for column in day %}rests.{{ column }}, {% endfor %}
        'unowned' as team,
        '' as cost_centre,
        rests.billed_cost - coalesce(shared_totals.billed_cost, 0) as billed_cost,
        rests.effective_cost - coalesce(shared_totals.effective_cost, 0) as effective_cost,
        '' as lowest_tags,
        '' as highest_tags
    from rests
    left join shared_totals
        on {% for column in day %}rests.{{ column }} = shared_totals.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}

),

by_owner as (

    select
        {{ day | join(', ') }},
        team,
        cost_centre,
        sum(billed_cost) as billed_cost,
        sum(effective_cost) as effective_cost,
        min(lowest_tags) as lowest_tags,
        max(highest_tags) as highest_tags
    from unioned
    group by {{ day | join(', ') }}, team, cost_centre

),

-- An owner without cost has a row only on a day without any cost, so that each day has one.
counted as (

    select
        *,
        max(case when billed_cost <> 0 or effective_cost <> 0 then 1 else 0 end)
            over (partition by {{ day | join(', ') }}) as day_has_cost,
        max(case when team <> 'unowned' then 1 else 0 end)
            over (partition by {{ day | join(', ') }}) as day_has_owner
    from by_owner

),

kept as (

    select * from counted
    where
        billed_cost <> 0
        or effective_cost <> 0
        or (day_has_cost = 0 and (team <> 'unowned' or day_has_owner = 0))

),
{%- if reporting_currency() %}

-- At the rate of the day, or at the average rate if the day has several.
converted as (

    select
        kept.*,
        {%- for measure, column in [('billed_cost', 'reporting_cost'), ('effective_cost', 'reporting_effective_cost')] %}
        totals.{{ column }} as total_{{ column }},
        cast(
            kept.{{ measure }}
            * coalesce(totals.fx_rate, {{ divided('totals.' ~ column, 'totals.' ~ measure) }}, 0) as numeric(28, 9)
        ) as rounded_{{ column }},
        {%- endfor %}
        row_number() over (
            partition by {% for column in day %}kept.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
            order by abs(kept.billed_cost) + abs(kept.effective_cost) desc, kept.team, kept.cost_centre
        ) as size_position,
        totals.reporting_currency,
        totals.fx_rate,
        totals.fx_date
    from kept
    inner join totals
        on {% for column in day %}kept.{{ column }} = totals.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}

),

-- The largest share takes the rounding difference, so that the owners of a day add up exactly.
reported as (

    select
        *,
        {%- for column in ['reporting_cost', 'reporting_effective_cost'] %}
        case
            when total_{{ column }} is null then null
            when size_position > 1 then rounded_{{ column }}
            else rounded_{{ column }} + total_{{ column }} - sum(rounded_{{ column }}) over (partition by {{ day | join(', ') }})
        end as {{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from converted

),
{%- endif %}

final as (

    select
        kept.provider,
        kept.billing_account,
        kept.account,
        kept.date,
        cast(kept.team as {{ dbt.type_string() }}) as team,
        cast(kept.cost_centre as {{ dbt.type_string() }}) as cost_centre,
        cast(
            case when kept.lowest_tags = kept.highest_tags then nullif(kept.lowest_tags, '') end
            as {{ dbt.type_string() }}
        ) as tags,
        cast(kept.billed_cost as numeric(28, 9)) as billed_cost,
        cast(kept.effective_cost as numeric(28, 9)) as effective_cost,
        kept.currency,
        {{- select_reporting('kept') }},
        totals.is_complete
    from {{ 'reported' if reporting_currency() else 'kept' }} as kept
    inner join totals
        on {% for column in day %}kept.{{ column }} = totals.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}

)

select * from final
