"""Loads Mathpix usage: the example script that `dlt init mathpix duckdb` copies into a project."""

import dlt
from mathpix import mathpix_source  # the copy beside this file


def load() -> None:
    """Loads all tables. Each run begins at the cursors of the last one, less the lookback; the first at `initial_date`."""
    pipeline = dlt.pipeline("mathpix_usage", destination="duckdb", dataset_name="mathpix")
    print(pipeline.run(mathpix_source()))


def load_again(since: str, until: str) -> None:
    """Replaces exactly [since, until), and moves no cursor."""
    pipeline = dlt.pipeline("mathpix_usage", destination="duckdb", dataset_name="mathpix")
    print(pipeline.run(mathpix_source(since=since, until=until)))


if __name__ == "__main__":
    load()
