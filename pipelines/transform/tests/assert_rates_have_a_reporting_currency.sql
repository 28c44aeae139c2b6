-- One row per exchange rate that was loaded without the setting `reporting_currency`, if the build has a reporting currency.
-- It is unknown into which currency such a rate converts, so it does not count.

{{ config(severity='warn') }}

with

fx_rates as (

    select * from {{ raw_table('billing', 'fx_rates') }}

),

final as (

    select
        currency,
        date,
        source,
        row_number
    from fx_rates
    where reporting_currency is null and {{ '1 = 1' if reporting_currency() else '1 = 0' }}

)

select * from final
