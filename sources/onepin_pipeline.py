"""Loads what Onepin meters: what `dlt init onepin duckdb` puts into a project, to begin with."""

import dlt
from onepin import onepin_source  # the copy beside this file


def load() -> None:
    """All tables, from where the last run stood; the first one begins at `initial_date`."""
    pipeline = dlt.pipeline("onepin_usage", destination="duckdb", dataset_name="onepin")
    print(pipeline.run(onepin_source()))


def load_again(since: str, until: str) -> None:
    """Exactly [since, until), in place of what was loaded of it; moves no cursor."""
    pipeline = dlt.pipeline("onepin_usage", destination="duckdb", dataset_name="onepin")
    print(pipeline.run(onepin_source(since=since, until=until)))


if __name__ == "__main__":
    load()
