-- One row per row of the billing files `owners` and `budgets` that names a value of a dimension that no loaded usage has.

{{ config(severity='warn') }}

with

owners as (

    select * from {{ ref('stg_billing__owners') }}
    where dimension is not null

),

budgets as (

    select * from {{ ref('stg_billing__budgets') }}
    where dimension is not null

),

usage_by_dimension as (

    select * from {{ ref('usage_by_dimension') }}

),

named as (

    select
        owner_file as source,
        owner_row as row_number,
        provider,
        account,
        dimension,
        value,
        is_pattern
    from owners

    union all

    select
        budget_file as source,
        budget_row as row_number,
        provider,
        account,
        dimension,
        value,
        is_pattern
    from budgets

),

used as (

    select distinct
        provider,
        account,
        dimension,
        value
    from usage_by_dimension

),

dimensions as (

    select distinct dimension
    from used

),

final as (

    select
        named.source,
        named.row_number,
        named.dimension,
        named.value
    from named
    inner join dimensions
        on named.dimension = dimensions.dimension
    left join used
        on named.dimension = used.dimension
        and (named.provider is null or named.provider = used.provider)
        and (named.account is null or named.account = used.account)
        and {{ names_value('named', 'used.value') }}
    where used.value is null

)

select * from final
