"""Loads your own prices, credits and invoices: the script that `dlt init billing duckdb` adds to a project as a start."""

import dlt
from billing import billing_source  # the copy beside this file


def load() -> None:
    """Replaces the loaded billing data with the files and tables of [sources.billing]."""
    pipeline = dlt.pipeline("billing_facts", destination="duckdb", dataset_name="billing")
    print(pipeline.run(billing_source()))


if __name__ == "__main__":
    load()
