-- One row per provider, account and raw table that has rows.

with

counted as (

    {% for table in staged_tables() -%}
    select
        '{{ table.provider }}' as provider,
        account,
        {{ table.name }} as resource,
        count(*) as row_count
    from {{ ref(table.model) }}
    group by account{{ ', grouped_by' if table.is_grouped }}
    {%- if not loop.last %}
    union all
    {% endif -%}
    {%- endfor %}

),

final as (

    select
        cast(provider as {{ dbt.type_string() }}) as provider,
        account,
        cast(resource as {{ dbt.type_string() }}) as resource,
        cast(row_count as bigint) as row_count
    from counted

)

select * from final
