{#
    What a stream draws from grants: CTEs that end in `drawn`, one row per row of the stream and grant that it draws on.

    `grants`: provider, billing_account, unit, grant_key, amount, starts_on, expires_on (excluded, null for never) and
    `turn`, their order from 1 within provider, billing_account and unit.
    `stream`: provider, billing_account, unit, row_key, row_order (unique, in the order of use), date and quantity.

    A row takes from the first grant, in their order, that is valid on its date and has something left. Because the order
    does not depend on time, that is the same as letting one grant after the other draw all that it can from what those
    before it have left: each turn of the recursion is one grant. A negative row gives back what was drawn before it.
#}
{% macro drawn_down(stream, grants) %}
    turns as (

        select
            provider,
            billing_account,
            unit,
            row_key,
            row_order,
            date,
            cast(quantity as numeric(28, 9)) as left_over,
            cast(0 as integer) as turn,
            cast('' as {{ dbt.type_string() }}) as grant_key,
            cast(0 as numeric(28, 9)) as drawn,
            cast(0 as numeric(28, 9)) as drawn_after
        from {{ stream }}

        union all

        select
            provider,
            billing_account,
            unit,
            row_key,
            row_order,
            date,
            cast(left_over - (drawn_after - drawn_before) as numeric(28, 9)) as left_over,
            turn,
            grant_key,
            cast(drawn_after - drawn_before as numeric(28, 9)) as drawn,
            cast(drawn_after as numeric(28, 9)) as drawn_after
        from (
            select
                wanted.*,
                least(amount, wanted_after - least(0, wanted_after, coalesce(least_before, 0))) as drawn_after,
                least(amount, wanted_after - wanted - least(0, coalesce(least_before, 0))) as drawn_before
            from (
                select
                    summed.*,
                    min(wanted_after) over (
                        partition by provider, billing_account, unit
                        order by row_order
                        rows between unbounded preceding and 1 preceding
                    ) as least_before
                from (
                    select
                        eligible.*,
                        sum(wanted) over (
                            partition by provider, billing_account, unit
                            order by row_order
                            rows between unbounded preceding and current row
                        ) as wanted_after
                    from (
                        select
                            turns.provider,
                            turns.billing_account,
                            turns.unit,
                            turns.row_key,
                            turns.row_order,
                            turns.date,
                            turns.left_over,
                            grants.turn,
                            grants.grant_key,
                            grants.amount,
                            case
                                when turns.date >= grants.starts_on
                                    and (turns.date < grants.expires_on or grants.expires_on is null)
                                    then turns.left_over
                                else 0
                            end as wanted
                        from turns
                        inner join {{ grants }} as grants
                            on turns.provider = grants.provider
                            and turns.billing_account = grants.billing_account
                            and turns.unit = grants.unit
                            and turns.turn + 1 = grants.turn
                    ) as eligible
                ) as summed
            ) as wanted
        ) as cumulated

    ),

    drawn as (

        select
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


{# What names one row of `int_usage__metered`. #}
{% macro usage_key() -%}
    {{ dbt.concat([
        'provider', "'|'", 'account', "'|'", 'meter', "'|'", 'timespan', "'|'",
        'cast(bucket_start as ' ~ dbt.type_string() ~ ')',
    ]) }}
{%- endmacro %}
