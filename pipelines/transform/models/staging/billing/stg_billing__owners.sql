-- One row per provider, account, dimension, value or pattern, owner and validity.
-- Without a dimension, a row maps what no value maps: all of it, a fixed share, or a part by a rule.

with

owners as (

    select * from {{ raw_table('billing', 'owners') }}

),

final as (

    select
        nullif(provider, '') as provider,
        nullif(account, '') as account,
        nullif(dimension, '') as dimension,
        case when value like '%*' then substring(value, 1, length(value) - 1) else nullif(value, '') end as value,
        coalesce(value like '%*', false) as is_pattern,
        team,
        coalesce(cost_centre, '') as cost_centre,
        nullif(tags, '{}') as tags,
        case when share in ('even', 'proportional') then share else 'fixed' end as sharing,
        coalesce(cast(nullif(nullif(share, 'even'), 'proportional') as numeric(28, 9)), 1) as fixed_share,
        cast(valid_from as date) as valid_from,
        cast(valid_to as date) as valid_to,
        source as owner_file,
        cast(row_number as bigint) as owner_row
    from owners

)

select * from final
