"""Loads what Reducto meters: what `dlt init reducto duckdb` puts into a project, to begin with."""

import dlt
from reducto import reducto_source  # the copy beside this file


def load() -> None:
    """All tables, from where the last run stood; the first one begins at `initial_date`."""
    pipeline = dlt.pipeline("reducto_usage", destination="duckdb", dataset_name="reducto")
    print(pipeline.run(reducto_source()))


def load_again(since: str, until: str) -> None:
    """Exactly [since, until), in place of what was loaded of it; moves no cursor."""
    pipeline = dlt.pipeline("reducto_usage", destination="duckdb", dataset_name="reducto")
    print(pipeline.run(reducto_source(since=since, until=until)))


if __name__ == "__main__":
    load()
