-- One row per scenario and charge of a closed period that a restatement may change.
-- A purchase does not depend on usage.
-- A correction can be billed within a month, for example on the 15th if invoices run from the 15th. The charges from that day on
-- include it. The charges before it are on an earlier invoice, so their change is billed in the next month.
-- If usage was corrected before its own period closed, that period has the corrected quantities, without a correction.

with

computed as (

    select * from {{ ref('int_charges__computed') }}

),

scenarios as (

    select * from {{ ref('int_billing__scenarios') }}
    where forecast is null

),

periods as (

    select * from {{ ref('int_billing__closed_periods') }}

),

-- Minimums and credits have no meter: they depend on all meters of the month. A period closed for any meter closes them.
closed as (

    select
        computed.charge_id,
        computed.scenario,
        min(periods.closed_at) as closed_at
    from computed
    inner join scenarios
        on computed.scenario = scenarios.scenario
        and computed.provider = scenarios.provider
        and computed.billing_account = scenarios.billing_account
        and computed.billing_month = scenarios.billing_month
    inner join periods
        on computed.provider = periods.provider
        and computed.billing_account = periods.billing_account
        and computed.account in ('', periods.account)
        and (periods.meter in ('', computed.meter) or computed.meter = '')
        and computed.billed_on >= periods.period_start
        and computed.billed_on < periods.period_end
    where computed.charge_category <> 'Purchase'
    group by computed.charge_id, computed.scenario

),

dated as (

    select
        computed.*
        {%- for side, until, within_month in [
            ('adds_on', 'added_until', 'added_within_month_on'),
            ('subtracts_on', 'subtracted_until', 'subtracted_within_month_on'),
        ] %},
        case
            when closed.closed_at >= scenarios.{{ until }} then cast(null as date)
            when scenarios.{{ side }} is not null then scenarios.{{ side }}
            when computed.billed_on < scenarios.{{ within_month }}
                then cast({{ later('month', 1, 'computed.billing_month') }} as date)
        end as {{ side }}
        {%- endfor %}
    from computed
    inner join closed
        on computed.charge_id = closed.charge_id
        and computed.scenario = closed.scenario
    inner join scenarios
        on computed.scenario = scenarios.scenario
        and computed.provider = scenarios.provider
        and computed.billing_account = scenarios.billing_account
        and computed.billing_month = scenarios.billing_month

),

final as (

    select
        *,
        adds_on is null and (scenario = 'computed' or subtracts_on is not null) as is_billed
    from dated

)

select * from final
