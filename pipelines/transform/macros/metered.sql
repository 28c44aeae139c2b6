{#
    CTEs that end in `metered`: usage as the vendor returned it (provider, account, meter, timespan, bucket_start, bucket_end,
    quantity, request_count, is_complete) with its billing account, its day and month on the billing calendar, and its SKU,
    according to the current billing files. The CTEs read the CTEs `billing_accounts` and `skus`. `also` names further
    columns to keep.
#}
{% macro metered(usage, also=[]) %}
    {{- owned(usage) }},

    -- Days, weeks and months are already calendar units of the vendor. A time zone must not shift them: the day would begin
    -- on the evening before, and the first of a month would be billed with the month before.
    dated as (

        select
            *,
            case
                when timespan = 'hour' then {{ billing_date('bucket_start', 'billing_timezone') }}
                else cast(bucket_start as date)
            end as billing_date
        from owned

    ),

    metered as (

        select
            cast(dated.provider as {{ dbt.type_string() }}) as provider,
            dated.billing_account,
            dated.account,
            dated.billing_timezone,
            cast(dated.meter as {{ dbt.type_string() }}) as meter,
            cast(dated.timespan as {{ dbt.type_string() }}) as timespan,
            dated.bucket_start,
            dated.bucket_end,
            dated.billing_date,
            cast({{ dbt.date_trunc('month', 'dated.billing_date') }} as date) as billing_month,
            case when skus.is_billed then skus.sku_id end as sku_id,
            case when skus.is_billed then skus.highest_priced_sku_id end as highest_priced_sku_id,
            skus.unit,
            cast(dated.quantity as numeric(28, 9)) as quantity,
            cast(dated.request_count as bigint) as request_count,
            coalesce(skus.is_billed, true) as is_billed,
            dated.is_complete
            {%- for column in also %},
            dated.{{ column }}
            {%- endfor %}
        from dated
        left join skus
            on dated.provider = skus.provider
            and dated.meter = skus.meter

    )
{%- endmacro %}


{# The columns that identify usage as the vendor returned it, and the condition that two rows agree in them. #}
{% macro usage_columns() %}
    {{- return(['provider', 'account', 'meter', 'bucket_start', 'bucket_end']) -}}
{% endmacro %}

{% macro is_same_usage(one, other) -%}
    {%- for column in usage_columns() %}
        {{- 'and ' if not loop.first }}{{ one }}.{{ column }} = {{ other }}.{{ column }}{{ ' ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
