-- One row per scenario and charge of a closed period that a restatement may change.
-- A purchase does not depend on usage.

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

restatable as (

    select
        computed.*,
        scenarios.adds_on,
        scenarios.subtracts_on,
        scenarios.is_billed
    from computed
    inner join scenarios
        on computed.scenario = scenarios.scenario
        and computed.provider = scenarios.provider
        and computed.billing_account = scenarios.billing_account
        and computed.billing_month = scenarios.billing_month
    where computed.charge_category <> 'Purchase'

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
