"""Runs the dbt project of this folder, in this process, on a destination."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from meterhouse.pipelines.transform import PROJECT, DataTestMode
from meterhouse.pipelines.transform.as_of import AsOf
from meterhouse.pipelines.transform.build_cache import CachedBuild, forget, last_build, remember
from meterhouse.pipelines.transform.data_tests import DataTests, forget_tests, record_tests, recorded_tests
from meterhouse.pipelines.transform.dbt_compat import lean_dbt
from meterhouse.pipelines.transform.digests import project_digest
from meterhouse.pipelines.transform.environment import require_neutral_environment
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import LoadError
from meterhouse.pipelines.warehouse.installation import install_command
from meterhouse.pipelines.warehouse.schemas import REGULAR
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.windows import utc_now
from meterhouse.sources.registry import PROVIDERS


@dataclass(frozen=True, slots=True)
class BuildResult:
    """How many models and seeds dbt built, the data tests, and a line for each model or test that failed.

    `data_tests`: those of this build, or of an earlier build if this one skipped them; None if there are none.
    `up_to_date`: an earlier run built the models, and nothing has changed since.
    """

    built: int
    data_tests: DataTests | None
    failures: tuple[str, ...] = ()
    up_to_date: bool = False


def require_models(destination: Destination) -> None:
    """Checks, before anything else is done, that the models can be built.

    Raises:
        ConfigurationError: `meterhouse` cannot build the models on this destination, dbt is not installed, or a variable in
            the environment would change what dbt builds.
    """
    require_neutral_environment()
    if not destination.has_models:
        raise ConfigurationError(
            f"meterhouse cannot build the SQL models on {destination.type}",
            hint="Load with --no-models, and run dbt on the project that `meterhouse models --path` prints; see the README.",
        )
    try:  # an import would be certain, and would take seconds
        version("dbt-core"), version(f"dbt-{destination.type}")
    except PackageNotFoundError:
        raise ConfigurationError(
            f"the SQL models need dbt-{destination.type}, which is not installed",
            hint=f"{install_command(destination.models_extra)}, or load without models: --no-models.",
        ) from None


def cached_build(
    destination: Destination, tests: DataTestMode, *, reporting_currency: str | None = None
) -> BuildResult | None:
    """The result of the last build, if a new one would change nothing; None if that is uncertain.

    Only on DuckDB: on a server, a change by another client cannot be detected as quickly.
    """
    if destination.file is None or tests is DataTestMode.ALL:
        return None
    cached = last_build(destination.file, PROJECT)
    if cached is None or cached.reporting_currency != reporting_currency:
        return None
    if cached.data_tests is None and tests is DataTestMode.CHANGED:
        return None
    return BuildResult(cached.built, cached.data_tests, up_to_date=True)


def build(
    destination: Destination,
    tests: DataTestMode,
    *,
    reporting_currency: str | None = None,
    as_of: AsOf | None = None,
    on_node: Callable[[str], None] = lambda name: None,  # noqa: ARG005
) -> BuildResult:
    """Builds all models in schema `usage` and runs the data tests that are due; `on_node` gets the names of finished nodes.

    With a `reporting_currency`, the marts also have all cost in it. A build `as_of` an earlier moment leaves the models in
    `usage`, the record of their build and the parsed project alone.

    Raises:
        ConfigurationError: dbt is not installed, or `meterhouse` cannot build the models on this destination.
    """
    require_models(destination)
    from dbt.cli.main import dbtRunner

    if destination.file is not None:
        destination.require_available()  # waits for other processes as long as the run was told to
        if as_of is None:
            forget(destination.file)
    now = utc_now()
    recorded = recorded_tests(destination, PROJECT, now) if tests is DataTestMode.CHANGED and as_of is None else None
    skips_tests = tests is DataTestMode.NONE or recorded is not None
    if not skips_tests and as_of is None:
        forget_tests(destination)
    work = destination.working_dir / "transform" / ("as_of" if as_of else "")
    forget_parse_of_other_files(work / "target", PROJECT)

    arguments = dbt_arguments(destination.type, work, skips_tests=skips_tests)
    variables = {
        **destination.dbt_variables(),
        "METERHOUSE_SCHEMA": as_of.schema if as_of else REGULAR,
        "METERHOUSE_AS_OF": as_of.moment.isoformat() if as_of else "",
        "METERHOUSE_REPORTING_CURRENCY": reporting_currency or "",
    }

    def on_dbt_event(event: object) -> None:
        info = getattr(event, "info", None)
        if getattr(info, "name", "") in {"LogModelResult", "LogTestResult", "LogSeedResult"}:
            on_node(getattr(getattr(event, "data", None), "name", ""))

    try:
        with _environment(variables), lean_dbt():
            result = dbtRunner(callbacks=[on_dbt_event]).invoke(arguments)
    finally:
        _release(destination)
    if result.exception is not None and getattr(result, "result", None) is None:
        return BuildResult(0, None, (f"dbt: {_one_line(str(result.exception))}",))
    nodes = list(getattr(result.result, "results", []))
    passed = sum(node.node.resource_type == "test" and node.status == "pass" for node in nodes)
    warnings = tuple(_description(node, destination) for node in nodes if node.status == "warn")
    built = BuildResult(
        built=sum(node.node.resource_type in {"model", "seed"} and node.status == "success" for node in nodes),
        data_tests=recorded if skips_tests else DataTests(now, passed, warnings),
        failures=tuple(
            _description(node, destination) for node in nodes if node.status in {"error", "fail", "runtime error"}
        ),
    )
    if result.success and as_of is None:
        if built.data_tests and not skips_tests:
            record_tests(destination, PROJECT, built.data_tests)
        if destination.file is not None:
            remember(destination.file, PROJECT, CachedBuild(built.built, built.data_tests, reporting_currency))
    return built


def dbt_arguments(target: str, work: Path, *, skips_tests: bool) -> list[str]:
    """The command line of dbt. Its options win over those in the environment; `environment.GIVEN` lists them."""
    arguments = ["build", "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--profile", "meterhouse"]
    arguments += ["--target", target, "--target-path", str(work / "target"), "--log-path", str(work / "logs")]
    arguments += ["--quiet", "--log-level", "none", "--no-use-colors", "--no-version-check"]
    arguments += ["--log-level-file", "none", "--no-write-json"]  # saves a fifth of a build; nothing reads the files here
    arguments += ["--exclude-resource-type", "unit_test"]  # they test our SQL, not the user's data
    arguments += ["test"] if skips_tests else []
    return [*arguments, "--vars", json.dumps({"registered_providers": list(PROVIDERS)})]  # usage without models is listed


def forget_parse_of_other_files(target: Path, project: Path) -> None:
    """Removes what dbt keeps of the parsed project in its target folder, if the project's files have changed since.

    After a macro has changed, as in a new version of meterhouse, dbt's partial parsing loses the descriptions of some data
    tests, which explain their failures.
    """
    target.mkdir(parents=True, exist_ok=True)
    parsed_from, digest = target / "parsed_from", project_digest(project)
    if not parsed_from.exists() or parsed_from.read_text() != digest:
        (target / "partial_parse.msgpack").unlink(missing_ok=True)
        parsed_from.write_text(digest)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets the variables within the block. Credentials pass this way, in no file and on no command line."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _release(destination: Destination) -> None:
    """Closes dbt's connections, which would stay open until the process ends."""
    from dbt.adapters.factory import reset_adapters

    reset_adapters()
    destination.release_dbt()


def _description(result: Any, destination: Destination) -> str:
    # dbt's message for a failed test only counts rows. The description, or the reasons that the test selects, explain them.
    message = destination.explain(result.message or "")
    if result.status == "fail" and getattr(getattr(result.node, "test_metadata", None), "name", "") == "valid_rows":
        message = _reasons(result.node.compiled_code, destination) or message
    if result.node.description:
        message = f"{result.node.description} ({message})" if message else result.node.description
    return _one_line(f"{result.node.name}: {message}")


def _reasons(test: str, destination: Destination) -> str:
    """The reasons that a `valid_rows` test selects, each with its number of rows."""
    query = f"select failure, count(*) as row_count from ({test}) as failures group by failure order by failure"  # noqa: S608 - of a model
    try:
        with destination.reader() as reader:
            return "; ".join(f"{row['failure']} (rows: {row['row_count']})" for row in reader.rows(query))
    except LoadError:
        return ""


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
