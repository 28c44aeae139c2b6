"""Loads Reducto usage: the example script that `dlt init reducto duckdb` copies into a project."""

import dlt
from reducto import reducto_source  # the copy beside this file


def load() -> None:
    """Loads all tables. Each run begins at the cursors of the last one, less the lookback; the first at `initial_date`."""
    pipeline = dlt.pipeline("reducto_usage", destination="duckdb", dataset_name="reducto")
    print(pipeline.run(reducto_source()))


def load_again(since: str, until: str) -> None:
    """Replaces exactly [since, until), and moves no cursor."""
    pipeline = dlt.pipeline("reducto_usage", destination="duckdb", dataset_name="reducto")
    print(pipeline.run(reducto_source(since=since, until=until)))


if __name__ == "__main__":
    load()
