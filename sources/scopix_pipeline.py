"""Loads Scopix usage: the example script that `dlt init scopix duckdb` copies into a project."""

import dlt
from scopix import scopix_source  # the copy beside this file


def load() -> None:
    """Loads all tables. Each run begins at the cursors of the last one, less the lookback; the first at `initial_date`."""
    pipeline = dlt.pipeline("scopix_usage", destination="duckdb", dataset_name="scopix")
    print(pipeline.run(scopix_source()))


def load_again(since: str, until: str) -> None:
    """Replaces exactly [since, until), and moves no cursor."""
    pipeline = dlt.pipeline("scopix_usage", destination="duckdb", dataset_name="scopix")
    print(pipeline.run(scopix_source(since=since, until=until)))


if __name__ == "__main__":
    load()
