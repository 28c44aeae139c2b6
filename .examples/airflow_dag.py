"""meterhouse in Airflow 3: one task per provider, then the models. Airflow needs only the command, not the package.

A scheduled run continues where the last one ended, however long ago that was. A backfill (`airflow backfill create --dag-id
meterhouse --from-date 2026-01-01 --to-date 2026-02-01`) loads exactly the days of each of its runs and moves no cursor.
"""

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

PROVIDERS = ("mathpix", "reducto", "onepin", "scopix")
BACKFILLED = "{{{{ data_interval_{bound}.isoformat() if dag_run.run_type == 'backfill' else '' }}}}"

with DAG(
    "meterhouse",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # Only one run at a time can write to a destination; a second one is refused.
    max_active_runs=1,
    max_active_tasks=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=10)},
) as dag:
    loaded = [
        BashOperator(
            task_id=provider,
            bash_command=f"meterhouse run {provider} --no-models",
            cwd="/srv/costs",
            env={f"DLT_INTERVAL_{bound.upper()}": BACKFILLED.format(bound=bound) for bound in ("start", "end")},
            append_env=True,
        )
        for provider in PROVIDERS
    ]
    models = BashOperator(
        task_id="models", bash_command="meterhouse models --tests changed", cwd="/srv/costs", trigger_rule="all_done"
    )
    # The models run on the data that was loaded. The DAG run still fails if a provider failed.
    loaded >> models
    loaded >> EmptyOperator(task_id="all_loaded")
