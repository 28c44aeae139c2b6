{#
    Draws a stream of usage down from grants: CTEs that end in `drawn`, one row per row of the stream and grant that it draws
    on. Each scenario draws on the grants anew.

    `grants`: provider, billing_account, unit, grant_key, amount, starts_on, expires_on (excluded, null for never) and
    `turn`, their order from 1 within provider, billing_account and unit. No two grants of a turn are valid on the same day.
    `stream`: scenario, provider, billing_account, unit, row_key, row_order (unique, in the order of use), date and quantity.
    `granted`: the relation that the grants come from. `only`: a condition for those of the stream's units.

    A row takes from the first grant, in their order, that is valid on its date and has something left. The order does not
    depend on time, so the result is the same if one grant after the other draws all it can from what the grants before it
    left: turn by turn. A negative row gives back what was drawn before it.

    DuckDB and PostgreSQL take turns by recursion. Spark, Snowflake, BigQuery and others allow no window function in a
    recursive query, so each turn is a CTE there: as many as those grants have when the model is compiled.
#}
{% macro drawn_down(stream, grants, granted, only) %}
    before_turns as (

        select
            scenario,
            provider,
            billing_account,
            unit,
            row_key,
            row_order,
            date,
            cast(quantity as numeric(28, 9)) as left_over,
            cast('' as {{ dbt.type_string() }}) as grant_key,
            cast(0 as numeric(28, 9)) as drawn,
            cast(0 as numeric(28, 9)) as drawn_after
        from {{ stream }}

    ),

    {{ turns_taken(grants, granted, only) }},

    drawn as (

        select
            scenario,
            provider,
            billing_account,
            unit,
            row_key,
            grant_key,
            drawn,
            drawn_after
        from turns
        where drawn <> 0

    )
{%- endmacro %}


{#
    CTEs that end in `earlier` (scenario, provider, billing_account, unit, billing_month, date, quantity): for each forecast
    scenario, the usage of the months before the forecast month. It is needed only for the balance of the grants. The usage
    between two dates on which a grant starts or expires is one row per month, because its sum draws the same amount.

    `daily`: provider, billing_account, unit, billing_month, date and quantity of the scenario `computed`. The CTE `scenarios`
    has the forecast scenarios.
#}
{% macro earlier_usage(daily, grants) %}
    changing_dates as (

        select provider, billing_account, unit, starts_on as date from {{ grants }}
        union all
        select provider, billing_account, unit, expires_on as date from {{ grants }} where expires_on is not null

    ),

    carried as (

        select distinct
            scenarios.scenario,
            scenarios.provider,
            scenarios.billing_account,
            scenarios.billing_month,
            grants.unit
        from scenarios
        inner join {{ grants }} as grants
            on scenarios.provider = grants.provider
            and scenarios.billing_account = grants.billing_account
            and scenarios.billing_month > grants.starts_on
            and (scenarios.billing_month <= grants.expires_on or grants.expires_on is null)

    ),

    placed as (

        select
            daily.provider,
            daily.billing_account,
            daily.unit,
            daily.billing_month,
            daily.date,
            max(changing_dates.date) as last_change,
            max(daily.quantity) as quantity
        from {{ daily }} as daily
        inner join changing_dates
            on daily.provider = changing_dates.provider
            and daily.billing_account = changing_dates.billing_account
            and daily.unit = changing_dates.unit
            and daily.date >= changing_dates.date
        group by daily.provider, daily.billing_account, daily.unit, daily.billing_month, daily.date

    ),

    earlier as (

        select
            carried.scenario,
            carried.provider,
            carried.billing_account,
            carried.unit,
            placed.billing_month,
            min(placed.date) as date,
            sum(placed.quantity) as quantity
        from carried
        inner join placed
            on carried.provider = placed.provider
            and carried.billing_account = placed.billing_account
            and carried.unit = placed.unit
            and carried.billing_month > placed.billing_month
        group by
            carried.scenario, carried.provider, carried.billing_account, carried.unit, placed.billing_month, placed.last_change

    )
{%- endmacro %}


{#
    CTEs that end in `turns`: the rows of `before_turns` after all turns, and the amount that each of them drew from each
    grant.
#}
{% macro turns_taken(grants, granted, only) %}
    {{- return(adapter.dispatch('turns_taken', 'meterhouse')(grants, granted, only)) -}}
{% endmacro %}

{% macro duckdb__turns_taken(grants, granted, only) -%}
    {{ turns_taken_by_recursion(grants) }}
{%- endmacro %}

{% macro postgres__turns_taken(grants, granted, only) -%}
    {{ turns_taken_by_recursion(grants) }}
{%- endmacro %}

{% macro redshift__turns_taken(grants, granted, only) -%}
    {{ meterhouse.default__turns_taken(grants, granted, only) }}
{%- endmacro %}


{% macro turns_taken_by_recursion(grants) %}
    turns_to_take as (

        select distinct
            provider,
            billing_account,
            unit,
            turn
        from {{ grants }}

    ),

    turns as (

        select
            *,
            cast(0 as integer) as turn
        from before_turns

        union all

        select
            scenario,
            provider,
            billing_account,
            unit,
            row_key,
            row_order,
            date,
            cast(left_over - (until_after - until_before) as numeric(28, 9)) as left_over,
            taken_from as grant_key,
            cast(until_after - until_before as numeric(28, 9)) as drawn,
            cast(until_after as numeric(28, 9)) as drawn_after,
            next_turn as turn
        from (
            {%- set following %}
            (
                select
                    turns.*,
                    turns_to_take.turn as next_turn
                from turns
                inner join turns_to_take
                    on turns.provider = turns_to_take.provider
                    and turns.billing_account = turns_to_take.billing_account
                    and turns.unit = turns_to_take.unit
                    and turns.turn + 1 = turns_to_take.turn
            )
            {%- endset %}
            {{- drawn_in_turn(following, grants, 'turns.next_turn') }}
        ) as drawn_in_turn

    )
{%- endmacro %}


{#
    A turn has two kinds of rows: those of the stream, with the quantity left over, and those with a grant key, which keep
    the amounts drawn in the turns so far. Nothing is left over in the latter, so they draw nothing and leave the sums
    unchanged.
#}
{% macro default__turns_taken(grants, granted, only) %}
    {%- set turns = most_turns(granted, only) %}
    halves as (

        select 1 as half
        union all
        select 2 as half

    ),

    {% for turn in range(1, turns + 1) %}
    turn_{{ turn }} as (

        select
            scenario,
            provider,
            billing_account,
            unit,
            row_key,
            row_order,
            date,
            cast(case when half = 1 then left_over - (until_after - until_before) else 0 end as numeric(28, 9)) as left_over,
            case when half = 1 then grant_key else taken_from end as grant_key,
            cast(case when half = 1 then drawn else until_after - until_before end as numeric(28, 9)) as drawn,
            cast(case when half = 1 then drawn_after else until_after end as numeric(28, 9)) as drawn_after
        from (
            {{- drawn_in_turn('before_turns' if turn == 1 else 'turn_' ~ (turn - 1), grants, turn) }}
        ) as drawn_in_turn
        cross join halves
        where half = 1 or until_after <> until_before

    ),

    {% endfor %}
    turns as (

        select * from {{ 'turn_' ~ turns if turns else 'before_turns' }}

    )
{%- endmacro %}


{#
    The rows with `taken_from`, the grant of the turn that is valid on their date (null for none). `until_after` and
    `until_before` are the amounts drawn from the grant up to the row, with and without it.
#}
{% macro drawn_in_turn(rows, grants, turn) %}
            select
                wanted.*,
                case
                    when taken_from is not null
                        then least(amount, wanted_after - least(0, wanted_after, coalesce(least_before, 0)))
                    else 0
                end as until_after,
                case
                    when taken_from is not null
                        then least(amount, wanted_after - left_over - least(0, coalesce(least_before, 0)))
                    else 0
                end as until_before
            from (
                select
                    summed.*,
                    min(wanted_after) over (
                        partition by scenario, provider, billing_account, unit, taken_from
                        order by row_order, grant_key
                        rows between unbounded preceding and 1 preceding
                    ) as least_before
                from (
                    select
                        turns.*,
                        grants.grant_key as taken_from,
                        grants.amount,
                        sum(turns.left_over) over (
                            partition by turns.scenario, turns.provider, turns.billing_account, turns.unit, grants.grant_key
                            order by turns.row_order, turns.grant_key
                            rows between unbounded preceding and current row
                        ) as wanted_after
                    from {{ rows }} as turns
                    left join {{ grants }} as grants
                        on turns.provider = grants.provider
                        and turns.billing_account = grants.billing_account
                        and turns.unit = grants.unit
                        and {{ turn }} = grants.turn
                        and turns.date >= grants.starts_on
                        and (turns.date < grants.expires_on or grants.expires_on is null)
                ) as summed
            ) as wanted
{%- endmacro %}


{#
    The highest turn of these grants. It is 1 if dbt may not query the database (`--no-introspect`), if the table does not exist
    yet, and in a unit test. Unit tests with more turns therefore pass on DuckDB and PostgreSQL only.
#}
{% macro most_turns(granted, only) %}
    {%- if not execute or not flags.INTROSPECT
        or adapter.get_relation(granted.database, granted.schema, granted.identifier) is none -%}
        {{- return(1) -}}
    {%- endif -%}
    {%- set highest = run_query('select coalesce(max(turn), 0) as turns from ' ~ granted ~ ' where ' ~ only) -%}
    {{- return(highest.columns[0].values()[0] | int) -}}
{% endmacro %}


{# The key of a row of `int_usage__metered`. #}
{% macro usage_key() -%}
    {{ dbt.concat([
        'provider', "'|'", 'account', "'|'", 'meter', "'|'", 'timespan', "'|'",
        'cast(bucket_start as ' ~ dbt.type_string() ~ ')',
    ]) }}
{%- endmacro %}
