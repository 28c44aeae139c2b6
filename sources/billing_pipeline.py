"""Loads your own prices, credits and invoices: what `dlt init billing duckdb` puts into a project, to begin with."""

import dlt
from billing import billing_source  # the copy beside this file


def load() -> None:
    """The files and tables of [sources.billing], in place of what was loaded before."""
    pipeline = dlt.pipeline("billing_facts", destination="duckdb", dataset_name="billing")
    print(pipeline.run(billing_source()))


if __name__ == "__main__":
    load()
