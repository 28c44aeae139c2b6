-- One row per account, meter, bucket and run that restated or withdrew usage, with the bucket's quantity before and after.
-- Only complete buckets, and only changes of the metered quantity. A change of the setting `timespan` replaces all buckets
-- by longer or shorter ones, which restates nothing.

{%- set bucket = ['provider', 'account', 'resource', 'series', 'timespan', 'bucket_start', 'bucket_end'] %}

with

versions as (

    select * from {{ ref('stg_providers__usage_versions') }}

),

-- Usage that was withdrawn may come back: then no row is superseded, but one is fetched.
changes as (

    select
        {{ bucket | join(',\n        ') }},
        superseded_by,
        superseded_at
    from versions
    where superseded_at is not null

    union all

    select
        {% for column in bucket %}versions.{{ column }},
        {% endfor -%}
        versions.run_id as superseded_by,
        versions.fetched_at as superseded_at
    from versions
    inner join versions as earlier
        on {% for column in bucket + ['meter'] %}versions.{{ column }} = earlier.{{ column }}
        {{ 'and ' if not loop.last }}{% endfor %}
        and versions.fetched_at > earlier.superseded_at

),

-- A run reads the partitions of a bucket one after the other.
runs as (

    select
        {{ bucket | join(',\n        ') }},
        superseded_by,
        min(superseded_at) as restated_at,
        max(superseded_at) as last_superseded_at
    from changes
    group by {{ bucket | join(', ') }}, superseded_by

),

-- Buckets that a run replaced with buckets of another timespan, and the buckets that it wrote in their place.
resized as (

    select distinct
        {% for column in bucket %}runs.{{ column }},
        {% endfor -%}
        runs.superseded_by,
        true as is_resized
    from runs
    inner join versions
        on {% for column in bucket[:4] %}runs.{{ column }} = versions.{{ column }}
        and {% endfor -%}
        runs.timespan <> versions.timespan
        and runs.superseded_by in (versions.run_id, versions.superseded_by)
        and runs.bucket_start < versions.bucket_end
        and runs.bucket_end > versions.bucket_start

),

restating as (

    select runs.*
    from runs
    left join resized
        on {% for column in bucket + ['superseded_by'] %}runs.{{ column }} = resized.{{ column }}
        {{ 'and ' if not loop.last }}{% endfor %}
    where resized.is_resized is null

),

valid as (

    select
        {% for column in bucket %}runs.{{ column }},
        {% endfor -%}
        runs.superseded_by as restated_by,
        runs.restated_at,
        versions.meter,
        versions.quantity,
        versions.fetched_at,
        case
            when
                versions.fetched_at < runs.restated_at
                and (versions.superseded_at is null or versions.superseded_at >= runs.restated_at)
                then 1
            else 0
        end as was_valid_before,
        case
            when
                versions.fetched_at <= runs.last_superseded_at
                and (versions.superseded_at is null or versions.superseded_at > runs.last_superseded_at)
                then 1
            else 0
        end as is_valid_after
    from restating as runs
    inner join versions
        on {% for column in bucket %}runs.{{ column }} = versions.{{ column }}
        {{ 'and ' if not loop.last }}{% endfor %}

),

compared as (

    select
        {{ bucket | join(',\n        ') }},
        meter,
        restated_by,
        restated_at,
        min(fetched_at) as first_seen_at,
        sum(quantity * was_valid_before) as quantity_before,
        sum(quantity * is_valid_after) as quantity_after,
        max(is_valid_after) = 0 as is_withdrawn
    from valid
    group by {{ bucket | join(', ') }}, meter, restated_by, restated_at

),

final as (

    select
        provider,
        account,
        resource,
        meter,
        timespan,
        bucket_start,
        bucket_end,
        cast(quantity_before as numeric(28, 9)) as quantity_before,
        cast(quantity_after as numeric(28, 9)) as quantity_after,
        first_seen_at,
        restated_at,
        restated_by,
        is_withdrawn
    from compared
    where quantity_before <> quantity_after

)

select * from final
