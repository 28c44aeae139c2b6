-- One row per account, workspace, local day of the snapshot, period and language.
-- The periods overlap, and so do the snapshots of two days.

with

usage_by_language as (

    select * from {{ raw_table('onepin', 'usage_by_language') }}

),

final as (

    select
        account,
        workspace_id,
        snapshot_date,
        {{ raw_column('range') }} as rolling_range,
        activity_view,
        timezone,
        {{ to_utc('period_start') }} as period_start,
        {{ to_utc('period_end') }} as period_end,
        locale_code,
        display_name as language_name,
        {{ raw_column('share') }} as usage_share,
        credits,
        characters as character_count,
        corrected as corrected_word_count,
        {{ raw_column('lines') }} as line_count,
        allocation_basis,
        total_credits as period_credits,
        untagged_credits as period_untagged_credits,
        {{ to_utc('fetched_at') }} as fetched_at
    from usage_by_language

)

select * from final
