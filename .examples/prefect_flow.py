"""meterhouse in Prefect 3: one task per provider, one after another, then the models on the data that was loaded.

`python prefect_flow.py` serves it every hour. With `since` and `until` it loads exactly [since, until) and moves no cursor.
"""

import subprocess

from prefect import flow, task

PROVIDERS = ("mathpix", "reducto", "onepin", "scopix")


@task(retries=2, retry_delay_seconds=600)
def load(provider: str, since: str | None, until: str | None) -> None:
    """Load one provider. Exit status 1 or 2 is a failure."""
    bounds = [*(("--since", since) if since else ()), *(("--until", until) if until else ())]
    subprocess.run(["meterhouse", "run", provider, "--no-models", *bounds], check=True)


@task
def models() -> None:
    """Build the SQL models, and run their tests once a day and after changes."""
    subprocess.run(["meterhouse", "models", "--tests", "changed"], check=True)


@flow
def meterhouse(since: str | None = None, until: str | None = None) -> None:
    """Load every provider and build the models. The run fails if a provider fails; the others are still modelled."""
    loaded = [load(provider, since, until, return_state=True) for provider in PROVIDERS]
    models()
    for state in loaded:
        state.result()


if __name__ == "__main__":
    meterhouse.serve(name="hourly", cron="7 * * * *")
