-- One row per account, workspace, local day of the snapshot and rolling range.
-- Columns that begin with `own_` are of the key's owner, in the owner's billing period. The others are of the workspace, in
-- the range or in the period of the view. The API returns them together, and they share no total.

with

usage_summary as (

    select * from {{ raw_table('onepin', 'usage_summary') }}

),

final as (

    select
        account,
        workspace_id,
        snapshot_date,
        {{ raw_column('range') }} as rolling_range,
        timezone,
        {{ to_utc('period_start') }} as period_start,
        {{ to_utc('period_end') }} as period_end,
        credits_used as own_credits_used,
        credits_quota as own_credits_quota,
        credits_percent as own_credits_percent,
        characters_total as character_count,
        corrected_total as corrected_word_count,
        lines_total as line_count,
        avg_chars_per_line as avg_characters_per_line,
        audio_total_ms as audio_ms,
        runs_total as run_count,
        runs_completed as completed_run_count,
        runs_failed as failed_run_count,
        runs_cancelled as cancelled_run_count,
        runs_running as running_run_count,
        runs_pending as pending_run_count,
        runs_paused as paused_run_count,
        activity_view,
        activity_bucket_unit,
        activity_range_label,
        activity_credits_total as activity_credits,
        activity_credits_avg as activity_avg_credits,
        activity_peak_credits,
        activity_peak_label,
        {{ to_utc('activity_peak_start') }} as activity_peak_start,
        {{ to_utc('activity_peak_end') }} as activity_peak_end,
        {{ to_utc('fetched_at') }} as fetched_at
    from usage_summary

)

select * from final
