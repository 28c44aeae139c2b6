-- One row per scenario and charge of a closed period that a restatement may change.
-- A charge is billed in the scenario of the time when its period closed (`is_billed`). Later restatements are corrected on the
-- first open day after the month. When the period of that day closes, the correction closes with it, and the next one is
-- billed on the first day that is still open. The correction of a day adds the charges that have it in `adds_on`, and
-- subtracts those that have it in `subtracts_on`.
-- Purchases have no rows, because they do not depend on usage.
-- Longer than 200 lines: the day of a correction depends on the corrections before it.

{%- set key = ['provider', 'billing_account', 'account', 'meter', 'billing_month', 'closed_at'] %}
{%- set now = event_time() %}

with

computed as (

    select * from {{ ref('int_charges__computed') }}

),

scenarios as (

    select * from {{ ref('int_billing__scenarios') }}
    where forecast is null

),

closings as (

    select * from {{ ref('int_billing__closed_periods') }}

),

affected_months as (

    select
        provider,
        billing_account,
        billing_month,
        max(interval_no) as last_no
    from scenarios
    group by provider, billing_account, billing_month

),

-- Minimums and credits have no meter: they depend on all meters of the month. A period closed for any meter closes them.
closed as (

    select
        computed.charge_id,
        computed.scenario,
        min(closings.closed_at) as closed_at
    from computed
    inner join affected_months
        on computed.provider = affected_months.provider
        and computed.billing_account = affected_months.billing_account
        and computed.billing_month = affected_months.billing_month
    inner join closings
        on computed.provider = closings.provider
        and computed.billing_account = closings.billing_account
        and computed.account in ('', closings.account)
        and (closings.meter in ('', computed.meter) or computed.meter = '')
        and computed.billed_on >= closings.period_start
        and computed.billed_on < closings.period_end
        and closings.reopened_at is null
    where computed.charge_category <> 'Purchase'
    group by computed.charge_id, computed.scenario

),

closed_charges as (

    select
        computed.*,
        closed.closed_at
    from computed
    inner join closed
        on computed.charge_id = closed.charge_id
        and computed.scenario = closed.scenario

),

-- Charges that closed together are corrected together.
parts as (

    select distinct
        {% for column in key %}closed_charges.{{ column }},
        {% endfor -%}
        cast({{ later('month', 1, 'closed_charges.billing_month') }} as date) as next_month,
        affected_months.last_no
    from closed_charges
    inner join affected_months
        on closed_charges.provider = affected_months.provider
        and closed_charges.billing_account = affected_months.billing_account
        and closed_charges.billing_month = affected_months.billing_month

),

-- For a charge of all meters or accounts, meters and accounts that closed at the same time count as one closing.
later_closings as (

    select distinct
        {% for column in key %}parts.{{ column }},
        {% endfor -%}
        parts.next_month,
        closings.period_start,
        closings.period_end,
        closings.closed_at as later_closed_at,
        closings.reopened_at
    from parts
    inner join closings
        on parts.provider = closings.provider
        and parts.billing_account = closings.billing_account
        and parts.account in ('', closings.account)
        and (closings.meter in ('', parts.meter) or parts.meter = '')
        and closings.period_end > parts.next_month

),

-- Closings that were reopened count, too: the next closing settled only the restatements after them.
moments as (

    select distinct
        {{ key | join(',\n        ') }},
        next_month,
        later_closed_at as moment
    from later_closings
    where later_closed_at > closed_at

    union all

    select
        {{ key | join(',\n        ') }},
        next_month,
        {{ now }} as moment
    from parts

),

-- `reached` is the end of the month, or of the closed periods before this one. The days from there to this one are open.
closed_before as (

    select
        {% for column in key + ['next_month', 'moment'] %}moments.{{ column }},
        {% endfor -%}
        later_closings.period_start,
        later_closings.period_end,
        greatest(moments.next_month, coalesce(
            max(later_closings.period_end) over (
                partition by {% for column in key + ['moment'] %}moments.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
                order by later_closings.period_start, later_closings.period_end
                rows between unbounded preceding and 1 preceding
            ),
            moments.next_month
        )) as reached
    from moments
    left join later_closings
        on {% for column in key %}moments.{{ column }} = later_closings.{{ column }}
        and {% endfor -%}
        later_closings.later_closed_at < moments.moment
        and (later_closings.reopened_at is null or later_closings.reopened_at >= moments.moment)

),

open_days as (

    select
        {{ key | join(',\n        ') }},
        moment,
        coalesce(
            min(case when period_start > reached then reached end),
            greatest(max(period_end), next_month),
            next_month
        ) as billed_on
    from closed_before
    group by {{ key | join(', ') }}, next_month, moment

),

-- A closing settles the correction whose day it covers. The correction of this build is not settled yet.
billings as (

    select distinct
        {% for column in key %}open_days.{{ column }},
        {% endfor -%}
        open_days.moment,
        open_days.billed_on
    from open_days
    left join later_closings
        on {% for column in key %}open_days.{{ column }} = later_closings.{{ column }}
        and {% endfor -%}
        open_days.moment = later_closings.later_closed_at
        and open_days.billed_on >= later_closings.period_start
        and open_days.billed_on < later_closings.period_end
    where later_closings.later_closed_at is not null or open_days.moment = {{ now }}

    union all

    select
        {{ key | join(',\n        ') }},
        closed_at as moment,
        cast(null as date) as billed_on
    from parts

),

with_scenario as (

    select
        {% for column in key %}billings.{{ column }},
        {% endfor -%}
        billings.moment,
        billings.billed_on,
        coalesce(scenarios.scenario, 'computed') as scenario,
        coalesce(scenarios.interval_no, affected_months.last_no + 1) as interval_no,
        lag(coalesce(scenarios.interval_no, affected_months.last_no + 1)) over (
            partition by {% for column in key %}billings.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
            order by billings.moment
        ) as previous_interval_no
    from billings
    inner join affected_months
        on billings.provider = affected_months.provider
        and billings.billing_account = affected_months.billing_account
        and billings.billing_month = affected_months.billing_month
    left join scenarios
        on billings.provider = scenarios.provider
        and billings.billing_account = scenarios.billing_account
        and billings.billing_month = scenarios.billing_month
        and billings.moment >= coalesce(scenarios.previous_closing_at, billings.moment)
        and billings.moment < coalesce(scenarios.closing_at, {{ now }})

),

billed as (

    select
        {{ key | join(',\n        ') }},
        scenario,
        billed_on is null as is_billed,
        billed_on as adds_on,
        lead(billed_on) over (partition by {{ key | join(', ') }} order by interval_no) as subtracts_on,
        previous_interval_no,
        interval_no,
        lead(interval_no) over (partition by {{ key | join(', ') }} order by interval_no) as next_interval_no
    from with_scenario
    where previous_interval_no is null or previous_interval_no <> interval_no

),

final as (

    select
        closed_charges.*,
        billed.is_billed,
        billed.adds_on,
        billed.subtracts_on,
        billed.previous_interval_no,
        billed.interval_no,
        billed.next_interval_no
    from closed_charges
    inner join billed
        on {% for column in key %}closed_charges.{{ column }} = billed.{{ column }}
        and {% endfor -%}
        closed_charges.scenario = billed.scenario

)

select * from final
