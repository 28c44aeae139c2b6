-- One row per scenario and charge of a closed period that a restatement may change.
-- A purchase does not depend on usage.
-- A correction can be billed within a month, for example on the 15th if invoices run from the 15th. The charges from that day on
-- include it. The charges before it are on an earlier invoice, so their change is billed in the next month.

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

dated as (

    select
        computed.*
        {%- for side, within_month in [
            ('adds_on', 'added_within_month_on'), ('subtracts_on', 'subtracted_within_month_on'),
        ] %},
        coalesce(
            scenarios.{{ side }},
            case
                when computed.billed_on < scenarios.{{ within_month }}
                    then cast({{ later('month', 1, 'computed.billing_month') }} as date)
            end
        ) as {{ side }}
        {%- endfor %}
    from computed
    inner join scenarios
        on computed.scenario = scenarios.scenario
        and computed.provider = scenarios.provider
        and computed.billing_account = scenarios.billing_account
        and computed.billing_month = scenarios.billing_month
    where computed.charge_category <> 'Purchase'

),

restatable as (

    select
        *,
        adds_on is null and (scenario = 'computed' or subtracts_on is not null) as is_billed
    from dated

),

-- Minimums and credits have no meter: they depend on all meters of the month. A period closed for any meter closes them.
closed as (

    select distinct
        restatable.charge_id,
        restatable.scenario
    from restatable
    inner join periods
        on restatable.provider = periods.provider
        and restatable.billing_account = periods.billing_account
        and restatable.account in ('', periods.account)
        and (periods.meter in ('', restatable.meter) or restatable.meter = '')
        and restatable.billed_on >= periods.period_start
        and restatable.billed_on < periods.period_end

),

final as (

    select restatable.*
    from restatable
    inner join closed
        on restatable.charge_id = closed.charge_id
        and restatable.scenario = closed.scenario

)

select * from final
