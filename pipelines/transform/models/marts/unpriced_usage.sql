-- One row per provider, account, meter and UTC date of usage that no price covers.
-- Vendors meter usage that has no price yet: a new usage type, credits of a plan whose price is not published, requests
-- without stated credits. Its cost is unknown, not zero: it is listed here and in no cost table. The rows of a provider
-- without models are listed by raw table.

with

priced_usage as (

    select * from {{ ref('int_usage__priced') }}

),

unmodelled_usage as (

    {{ unmodelled_usage() }}

),

unpriced as (

    select
        provider,
        account,
        meter,
        cast(bucket_start as date) as date,
        quantity,
        unit,
        case
            when {{ is_unrated_meter('provider', 'meter') }} then 'no credits stated'
            when sku_id is null then 'unknown meter'
            else 'no price at that time'
        end as reason
    from priced_usage
    where scenario = 'computed' and not is_priced

    union all

    select
        provider,
        account,
        resource as meter,
        date,
        row_count as quantity,
        'row' as unit,
        'no model' as reason
    from unmodelled_usage

),

final as (

    select
        cast(provider as {{ dbt.type_string() }}) as provider,
        account,
        cast(meter as {{ dbt.type_string() }}) as meter,
        date,
        cast(sum(quantity) as numeric(28, 9)) as quantity,
        cast(unit as {{ dbt.type_string() }}) as unit,
        cast(reason as {{ dbt.type_string() }}) as reason
    from unpriced
    group by provider, account, meter, date, unit, reason

)

select * from final
