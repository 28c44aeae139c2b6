"""Loads Reducto usage: the example script that `dlt init reducto duckdb` copies into a project."""

import dlt
from reducto import reducto_source  # the copy beside this file


def load() -> None:
    """Loads all tables from the cursors of the last run on; the first run begins at `initial_date`."""
    pipeline = dlt.pipeline("reducto_usage", destination="duckdb", dataset_name="reducto")
    print(pipeline.run(reducto_source()))


def load_again(since: str, until: str) -> None:
    """Replaces exactly [since, until); moves no cursor."""
    pipeline = dlt.pipeline("reducto_usage", destination="duckdb", dataset_name="reducto")
    print(pipeline.run(reducto_source(since=since, until=until)))


if __name__ == "__main__":
    load()
