"""Loads Onepin usage: the example script that `dlt init onepin duckdb` copies into a project."""

import dlt
from onepin import onepin_source  # the copy beside this file


def load() -> None:
    """Loads all tables from the cursors of the last run on; the first run begins at `initial_date`."""
    pipeline = dlt.pipeline("onepin_usage", destination="duckdb", dataset_name="onepin")
    print(pipeline.run(onepin_source()))


def load_again(since: str, until: str) -> None:
    """Replaces exactly [since, until); moves no cursor."""
    pipeline = dlt.pipeline("onepin_usage", destination="duckdb", dataset_name="onepin")
    print(pipeline.run(onepin_source(since=since, until=until)))


if __name__ == "__main__":
    load()
