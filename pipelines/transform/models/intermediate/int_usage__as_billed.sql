-- One row per restatement scenario (all but `computed` and forecasts) and metered bucket of the months that it rates. The
-- quantity is the current one without the restatements that the scenario leaves out.

{%- set columns = [
    'provider', 'billing_account', 'account', 'billing_timezone', 'meter', 'timespan', 'bucket_start', 'bucket_end',
    'billing_date', 'billing_month', 'sku_id', 'highest_priced_sku_id', 'unit', 'is_billed',
] %}

with

metered_usage as (

    select * from {{ ref('int_usage__metered') }}

),

restated as (

    select * from {{ ref('int_usage__restated') }}

),

scenarios as (

    select * from {{ ref('int_billing__scenarios') }}
    where forecast is null

),

quantities as (

    select
        scenarios.scenario,
        {% for column in columns %}metered_usage.{{ column }},
        {% endfor -%}
        metered_usage.quantity,
        metered_usage.is_complete
    from metered_usage
    inner join scenarios
        on metered_usage.provider = scenarios.provider
        and metered_usage.billing_account = scenarios.billing_account
        and metered_usage.billing_month = scenarios.billing_month

    union all

    select
        scenarios.scenario,
        {% for column in columns %}restated.{{ column }},
        {% endfor -%}
        restated.quantity_before - restated.quantity_after as quantity,
        restated.is_complete
    from restated
    inner join scenarios
        on restated.provider = scenarios.provider
        and restated.billing_account = scenarios.billing_account
        and restated.billing_month = scenarios.billing_month
        and restated.interval_no >= scenarios.interval_no

),

final as (

    select
        scenario,
        {{ columns | join(',\n        ') }},
        cast(sum(quantity) as numeric(28, 9)) as quantity,
        min(case when is_complete then 1 else 0 end) = 1 as is_complete
    from quantities
    group by scenario, {{ columns | join(', ') }}

)

select * from final
