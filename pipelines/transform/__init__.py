"""Runs the dbt project of this folder, in this process, on what a destination holds."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from meterhouse.pipelines.transform.build_cache import CachedBuild, forget, last_build, remember
from meterhouse.pipelines.transform.connection import VARIABLES, connected
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.sources._core.errors import ConfigurationError

PROJECT = Path(__file__).parent
"""The dbt project; `meterhouse models --path` prints it for those who install it as a `local:` package."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What dbt built and tested: counts, and one line for each model or test that failed or warned.

    With `up_to_date` it did so in an earlier run, and nothing has changed since.
    """

    built: int
    tested: int
    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    up_to_date: bool = False


def known_skus() -> frozenset[str]:
    """All that usage can be billed as: the SKUs of the shipped price list and of the map from meters to SKUs."""
    skus: set[str] = set()
    for seed in ("price_list", "sku_map"):
        with (PROJECT / "seeds" / f"{seed}.csv").open(encoding="utf-8", newline="") as file:
            skus |= {row["sku_id"] for row in csv.DictReader(file)}
    return frozenset(skus - {""})


def require_models(destination: Destination) -> None:
    """Raises ConfigurationError where the models cannot be built, before anything else is done.

    The extra is not installed, or the models do not run on the destination by command.
    """
    if destination.type not in VARIABLES:
        raise ConfigurationError(
            f"the SQL models do not run on {destination.type} by command",
            hint="Load with --no-models and run dbt on what `meterhouse models --path` prints, as the README says.",
        )
    try:  # importing it would tell for certain, and takes seconds
        version("dbt-core"), version(f"dbt-{destination.type}")
    except PackageNotFoundError:
        extra = "dbt" if destination.type == "duckdb" else destination.type
        raise ConfigurationError(
            f"the SQL models need dbt-{destination.type}, which is not installed",
            hint=f"pip install 'meterhouse[{extra}]', or load without them: --no-models.",
        ) from None


def built_already(destination: Destination) -> Outcome | None:
    """What the last build said, where another one would make the same again; None where that is not certain.

    Which it is only on DuckDB: whoever else writes to a server leaves no trace that could be looked at as quickly.
    """
    if destination.type != "duckdb":
        return None
    known = last_build(Path(destination.location), PROJECT)
    return Outcome(known.built, known.tested, (), known.warnings, up_to_date=True) if known else None


def build(destination: Destination, *, on_node: Callable[[str], None] = lambda name: None) -> Outcome:  # noqa: ARG005
    """Builds and tests all models in schema `usage`; `on_node` hears the name of each as it is finished.

    Raises:
        ConfigurationError: dbt is not installed, or has no adapter here for the destination.
    """
    require_models(destination)
    from dbt.cli.main import dbtRunner

    database = Path(destination.location) if destination.type == "duckdb" else None
    if database is not None:
        forget(database)
    work = destination.working_dir / "transform"
    arguments = ["build", "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target", destination.type]
    arguments += ["--target-path", str(work / "target"), "--log-path", str(work / "logs")]
    arguments += ["--quiet", "--log-level", "none", "--log-level-file", "warn", "--no-use-colors", "--no-version-check"]
    arguments += ["--no-write-json"]  # a tenth of a build's time, and nobody reads them here
    arguments += ["--exclude-resource-type", "unit_test"]  # they test our SQL, not the user's data

    def heard(event: object) -> None:
        info = getattr(event, "info", None)
        if getattr(info, "name", "") in {"LogModelResult", "LogTestResult", "LogSeedResult"}:
            on_node(getattr(getattr(event, "data", None), "name", ""))

    try:
        with connected(destination):
            result = dbtRunner(callbacks=[heard]).invoke(arguments)
    finally:
        _let_go_of_the_database(destination)
    if result.exception is not None and getattr(result, "result", None) is None:
        return Outcome(0, 0, (f"dbt: {_one_line(str(result.exception))}",), ())
    nodes = list(getattr(result.result, "results", []))
    outcome = Outcome(
        built=sum(node.node.resource_type in {"model", "seed"} and node.status == "success" for node in nodes),
        tested=sum(node.node.resource_type in {"test", "unit_test"} and node.status == "pass" for node in nodes),
        failures=tuple(_described(node) for node in nodes if node.status in {"error", "fail", "runtime error"}),
        warnings=tuple(_described(node) for node in nodes if node.status == "warn"),
    )
    if result.success and database is not None:
        remember(database, PROJECT, CachedBuild(outcome.built, outcome.tested, outcome.warnings))
    return outcome


def _described(result: Any) -> str:
    # dbt's own message of a test counts rows; what they mean stands in the test's description.
    said = result.node.description or result.message or ""
    return _one_line(f"{result.node.name}: {said}" + (f" ({result.message})" if result.node.description else ""))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]


def _let_go_of_the_database(destination: Destination) -> None:
    """dbt-duckdb keeps its handle until the process ends, and DuckDB lets no other process in while it does."""
    from dbt.adapters.factory import reset_adapters

    reset_adapters()  # type: ignore[no-untyped-call]
    if destination.type == "duckdb":
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager

        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
