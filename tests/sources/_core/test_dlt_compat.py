"""Each use of what dlt and httpx do not document, tested so that a new version that changes it fails here."""

import copy
import inspect
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import dlt
import duckdb
import httpcore
import httpx
import pyarrow as pa
import pytest
from dlt.common import validation
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import CustomLoaderDocProvider, EnvironProvider
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.exceptions import DictValidationException
from dlt.common.pipeline import PipelineContext
from dlt.common.runtime.run_context import RunContext
from dlt.common.schema import Schema
from dlt.common.schema import utils as schema_utils
from dlt.common.schema.utils import validate_stored_schema
from dlt.extract.utils import wrap_parallel_iterator
from dlt.pipeline.exceptions import PipelineStepFailed

from meterhouse.sources._core.dlt_compat.extract import (
    NEXT_RESOURCE,
    active_destination,
    in_thread_pool,
    into_table,
    with_write_disposition,
)
from meterhouse.sources._core.dlt_compat.load import state_columns, stored_state
from meterhouse.sources._core.dlt_compat.merge import SCOPES, stored_with_package
from meterhouse.sources._core.dlt_compat.private import wrap_network_backend
from meterhouse.sources._core.dlt_compat.settings import (
    Environment,
    OwnSettings,
    destination_configuration,
    missing_credentials,
    settings_folders,
    settings_of,
    use_own_settings,
)
from meterhouse.sources._core.dlt_compat.speed import (
    cache_capabilities,
    cache_field_counts,
    cache_type_hints,
    copy_json,
    copy_schemas_as_json,
    hash_schemas_once,
)


@pytest.fixture
def pipeline(tmp_path: Path) -> dlt.Pipeline:
    destination = dlt.destinations.duckdb(str(tmp_path / "warehouse.duckdb"))
    return dlt.pipeline("compat", destination=destination, dataset_name="compat", pipelines_dir=str(tmp_path))


def query(tmp_path: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        return connection.sql(sql).fetchall()


def test_the_own_context_replaces_dlts_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the same providers in the same order, and its working directory is the process's, in a workspace too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLT_LOCAL_DIR", "elsewhere")
    Path(".dlt").mkdir()
    Path(".dlt/.workspace").touch()
    dlt.current.run_context().reload()
    dlt.config.register_provider(CustomLoaderDocProvider("vault", lambda: {"sources": {"vendor": {"key": "x"}}}))
    use_own_settings()
    use_own_settings()
    assert dlt.config.get("sources.vendor.key") == "x"
    context = dlt.current.run_context()
    assert (Path(context.local_dir).resolve(), Path(context.run_dir).resolve()) == (tmp_path, tmp_path)
    ours, theirs = (each.initial_providers() for each in (context, RunContext(".")))
    assert [provider.name for provider in ours] == [provider.name for provider in theirs]
    assert all(isinstance(provider, OwnSettings) for provider in ours)
    active = Container()[PluggableRunContext].providers.providers
    assert [type(provider) for provider in active] == [*(type(provider) for provider in ours), CustomLoaderDocProvider]
    Path(".dlt/.workspace").unlink()
    context.reload()


@pytest.mark.parametrize(
    ("sections", "found"),
    [
        ((), False),
        (("pipelines",), False),
        (("pipelines", "mathpix"), False),
        (("sources", "mathpix"), True),
        (("sources",), False),
        (("sources", "schema"), False),
        (("sources", "mathpix", "data_writer"), False),
        (("sources", "mathpix", "accounts", "load"), True),
        (("destination", "duckdb", "credentials"), True),
        (("credentials",), False),
        (("extract",), True),
    ],
)
def test_only_own_sections_have_settings(sections: tuple[str, ...], *, found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a section with the name of the pipeline."""
    monkeypatch.setenv("__".join((*sections, "key")).upper(), "x")
    monkeypatch.setenv("__".join(("pipeline", *sections, "key")).upper(), "x")
    assert Environment().get_value("key", str, "", *sections)[0] == ("x" if found else None)
    assert Environment().get_value("key", str, "pipeline", *sections)[0] is None


def test_settings_of_a_destination_are_those_that_dlt_resolves() -> None:
    """A pipeline sets the others, such as the dataset."""
    known = settings_of(dlt.destinations.duckdb("warehouse.duckdb").spec)
    assert {"credentials", "staging_dataset_name_layout"} <= known
    assert {"dataset_name", "local_dir"}.isdisjoint(known)


@pytest.mark.parametrize("value", [None, "x", ""])
def test_the_environment_returns_the_same_as_dlts_own(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """The shortcut for missing variables changes no result."""
    if value is not None:
        monkeypatch.setenv("SOURCES__VENDOR__KEY", value)
    ours, theirs = (
        provider.get_value("key", str, "", "sources", "vendor") for provider in (Environment(), EnvironProvider())
    )
    assert ours == theirs


def test_type_hints_are_evaluated_once_per_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """dlt evaluates them for each object of a schema, and changes none of the results."""
    calls = []

    def evaluate(spec: type, globalns: Any = None) -> dict[str, Any]:
        calls.append(spec)
        return get_type_hints(spec, globalns=globalns)

    monkeypatch.setattr(validation, "get_type_hints", evaluate)
    cache_type_hints()
    cache_type_hints()
    for _ in range(2):
        validate_stored_schema(dlt.Schema("compat").to_dict())
    assert len(calls) == len(set(calls)) > 1
    broken: Any = dlt.Schema("compat").to_dict() | {"tables": 1}
    with pytest.raises(DictValidationException):
        validate_stored_schema(broken)


def test_capabilities_are_computed_once_and_never_shared() -> None:
    """dlt calls `destination.capabilities`, and changes the object that it gets."""
    destination = cache_capabilities(dlt.destinations.duckdb("warehouse.duckdb"))
    first, second = destination.capabilities(), destination.capabilities()
    assert first is not second
    assert first == second
    assert list(inspect.signature(type(destination).capabilities).parameters)[1:] == ["config", "naming"]


def test_a_destination_resolves_without_a_pipeline() -> None:
    """`_bind_dataset_name` is all that a configuration needs."""
    resolved = destination_configuration(dlt.destinations.duckdb("warehouse.duckdb"), "duckdb")
    assert Path(str(resolved.data_location())).name == "warehouse.duckdb"


def test_missing_credentials_are_known_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The traces of dlt's error have the fields."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://u@h")
    assert missing_credentials(dlt.destination("postgres"), "postgres") == {"password", "database"}
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://u:p@h/d")
    assert missing_credentials(dlt.destination("postgres"), "postgres") == set()


def test_settings_folders_are_those_that_dlt_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The working directory comes first; nothing is read from either."""
    monkeypatch.chdir(tmp_path)
    Path(".dlt").mkdir()
    Path(".dlt/config.toml").write_text("not = toml = at all")
    first, second = settings_folders()
    assert first.resolve() == (tmp_path / ".dlt").resolve()
    assert second.resolve() == Path(dlt.current.run_context().global_dir).resolve()


def test_the_active_destination_is_that_of_the_running_pipeline(pipeline: dlt.Pipeline) -> None:
    """Without a pipeline it is None, and none is created."""
    assert active_destination() is pipeline.destination
    Container()[PipelineContext].deactivate()
    assert active_destination() is None
    assert not Container()[PipelineContext].is_active()


def test_steps_run_in_other_threads_and_one_after_the_other(pipeline: dlt.Pipeline, tmp_path: Path) -> None:
    """Two resources have their turns side by side; the steps of each keep their order."""
    threads, both = set(), threading.Barrier(2, timeout=60)

    def steps(name: str) -> Generator[Any, None, None]:
        for number in range(3):
            threads.add(threading.get_ident())
            if number == 0:
                both.wait()
            yield {"name": name, "number": number}

    def resource(name: str) -> Any:
        def items() -> Iterator[Any]:
            yield NEXT_RESOURCE
            yield from in_thread_pool(steps(name))

        return dlt.resource(items, name=name)

    pipeline.run([resource("one"), resource("two")])
    assert threading.get_ident() not in threads
    for name in ("one", "two"):
        assert query(tmp_path, f"select number from compat.{name} order by _dlt_load_id, rowid") == [(0,), (1,), (2,)]


def test_dlt_closes_the_steps_of_an_iterator_that_is_not_a_generator() -> None:
    """`wrap_parallel_iterator` calls next and close, and nothing else."""
    steps = in_thread_pool(item for item in [1, 2])
    assert next(steps)() == 1
    steps.close()  # type: ignore[attr-defined]
    assert set(inspect.signature(wrap_parallel_iterator).parameters) == {"f"}


@pytest.mark.parametrize("parallelized", [True, False], ids=["dlt's own", "ours"])
@pytest.mark.thorough
def test_a_running_step_hides_no_failure(pipeline: dlt.Pipeline, parallelized: bool) -> None:
    """dlt's own parallelized=True raises "generator already executing" instead; when it stops, `_ClosableSteps` can go."""
    started, release = threading.Event(), threading.Event()

    def slow() -> Generator[Any, None, None]:
        started.set()
        release.wait(timeout=60)
        yield {"a": 1}

    def fails() -> Iterator[Any]:
        if started.wait(timeout=60):
            raise RuntimeError("the first failure")
        yield

    def in_pool() -> Iterator[Any]:
        yield from in_thread_pool(slow())

    resources = [
        dlt.resource(slow, name="slow", parallelized=True) if parallelized else dlt.resource(in_pool, name="slow"),
        dlt.resource(fails, name="fails", parallelized=True),
    ]
    threading.Timer(4, release.set).start()  # dlt waits 2 seconds for running steps
    with pytest.raises((PipelineStepFailed, ValueError)) as caught:
        pipeline.run(resources)
    assert ("already executing" in str(caught.value)) is parallelized
    assert ("the first failure" in str(caught.value)) is not parallelized


def test_the_last_write_disposition_holds_for_all_rows(pipeline: dlt.Pipeline, tmp_path: Path) -> None:
    """Rows that were yielded before are merged by the scope that comes last."""

    def rows(*days: int) -> Iterator[Any]:
        yield pa.table({"day": list(days), "used": [len(days)] * len(days)})
        scope = {"disposition": "merge", "strategy": "delete-insert", "destination_scope": "day >= 2 AND day < 4"}
        yield with_write_disposition(pa.table({"day": pa.array([], pa.int64()), "used": pa.array([], pa.int64())}), scope)

    def load(*days: int) -> None:
        pipeline.run(dlt.resource(rows(*days), name="usage", primary_key="day", write_disposition="merge"))

    load(1, 2, 3)
    load(3)
    assert query(tmp_path, "select day, used from compat.usage order by day") == [(1, 3), (3, 1)]


def test_a_scope_that_is_stored_with_the_package_holds_for_the_merge(pipeline: dlt.Pipeline, tmp_path: Path) -> None:
    """dlt's schema has only its name. A load without the scope fails, and its package stays."""

    def rows(days: list[int], scope: str) -> Iterator[Any]:
        disposition = {"disposition": "merge", "strategy": "delete-insert"}
        disposition["destination_scope"] = stored_with_package("usage", scope) if scope else f"{SCOPES}.usage"
        yield with_write_disposition(pa.table({"day": days}), disposition)

    def load(days: list[int], scope: str) -> None:
        pipeline.run(dlt.resource(rows(days, scope), name="usage", primary_key="day", write_disposition="merge"))

    load([1, 2, 3], "day < 4")
    load([3], "day >= 2 AND day < 4")
    assert query(tmp_path, "select day from compat.usage order by day") == [(1,), (3,)]
    assert pipeline.default_schema.tables["usage"]["x-merge-destination-scope"] == f"{SCOPES}.usage"  # type: ignore[typeddict-item]
    with pytest.raises(PipelineStepFailed, match=SCOPES):
        load([4], "")
    assert query(tmp_path, "select day from compat.usage order by day") == [(1,), (3,)]


def test_a_changed_state_is_the_one_that_dlt_restores(pipeline: dlt.Pipeline, tmp_path: Path) -> None:
    """The columns of dlt's state table are read and written as dlt does; the state of another pipeline is none."""
    assert stored_state(pipeline) is None

    @dlt.resource
    def rows() -> Iterator[Any]:
        dlt.current.resource_state()["cursor"] = "old"
        yield {"day": 1}

    pipeline.run(rows())
    stored = stored_state(pipeline)
    assert stored is not None
    load_id, state = stored
    state["sources"]["compat"]["resources"]["rows"]["cursor"] = "new"
    columns = state_columns(state)
    assert columns["version"] == state["_state_version"]
    with pipeline.sql_client() as client:
        changes = ", ".join(f"{name} = %s" for name in columns)
        sql = f"update compat._dlt_pipeline_state set {changes} where _dlt_load_id = %s"
        client.execute_sql(sql, *columns.values(), load_id)
    pipeline.drop().sync_destination()
    assert pipeline.state["sources"]["compat"]["resources"]["rows"]["cursor"] == "new"


def test_a_last_table_is_loaded_after_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if another one is slow."""
    monkeypatch.setattr("meterhouse.sources._core.dlt_compat.load._LOADED_LAST", {"a_log"})
    loaded: list[str] = []

    @dlt.destination(batch_size=0, loader_parallelism_strategy="parallel")
    def slow(rows: Any, table: Any) -> None:
        threading.Event().wait(0.1 if table["name"] == "data" else 0)
        loaded.append(table["name"])

    tables = [dlt.resource([{"id": 1}], name=name) for name in ("a_log", "data", "other")]
    dlt.pipeline("last", destination=slow, pipelines_dir=str(tmp_path)).run(tables)
    assert loaded == ["other", "data", "a_log"]


@pytest.mark.parametrize("names", [["b", "a"], ["a", "b"]])
def test_a_shared_table_names_the_same_resource_whoever_writes_last(pipeline: dlt.Pipeline, names: list[str]) -> None:
    """dlt itself names the last writer; it needs a resource of the source there."""

    def items(name: str) -> Iterator[Any]:
        yield from into_table(pa.table({"name": [name]}), "shared")

    def own(name: str) -> Iterator[Any]:
        yield dlt.mark.with_hints({"name": name}, dlt.mark.make_hints(table_name="theirs"), create_table_variant=True)

    pipeline.run([dlt.resource(items(name), name=name) for name in names])
    assert pipeline.default_schema.tables["shared"]["resource"] == "a"
    pipeline.run([dlt.resource(own(name), name=name) for name in names])
    assert pipeline.default_schema.tables["theirs"]["resource"] == names[-1]


def test_every_connection_pool_gets_the_new_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own pool, and those of its proxies."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    wrapped: list[httpcore.NetworkBackend] = []

    def wrap(backend: httpcore.NetworkBackend) -> httpcore.NetworkBackend:
        wrapped.append(backend)
        return backend

    with httpx.Client() as client:
        assert wrap_network_backend(client, wrap) is client
    assert len(wrapped) == 2
    assert all(isinstance(backend, httpcore.NetworkBackend) for backend in wrapped)


def test_a_wrapped_backend_makes_the_connections() -> None:
    """httpx connects through the backend that its pool has at the time of the request."""
    calls: list[tuple[str, int]] = []

    class Refusing(httpcore.NetworkBackend):
        def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore.NetworkStream:
            calls.append((host, port))
            raise httpcore.ConnectError("refused")

    client = wrap_network_backend(httpx.Client(trust_env=False), lambda _: Refusing())
    with client, pytest.raises(httpx.ConnectError):
        client.get("http://vendor.invalid:81/usage")
    assert calls == [("vendor.invalid", 81)]


def test_the_hash_of_a_schema_is_dlts_own() -> None:
    """It is computed once instead of twice, and follows a change of the schema."""
    measure = Schema.version_hash
    hash_schemas_once()
    schema = dlt.Schema("compat")
    before = schema.version_hash
    assert before == measure.fget(schema)  # type: ignore[attr-defined]
    schema.update_table({"name": "usage", "columns": {"id": {"name": "id", "data_type": "text"}}})
    assert before != schema.version_hash == measure.fget(schema)  # type: ignore[attr-defined]


def test_the_size_of_settings_is_dlts_own() -> None:
    """A class of settings has the same fields for ever."""
    settings = dlt.destinations.duckdb("warehouse.duckdb").spec()
    names = list(settings)
    cache_field_counts()
    cache_field_counts()
    assert len(settings) == len(settings) == len(names) > 1


def test_the_copy_of_a_table_is_dlts_own() -> None:
    """dlt copies the tables of a schema by the name that is replaced, and changes only the copy."""
    copy_schemas_as_json()
    assert schema_utils.deepcopy is copy_json  # type: ignore[attr-defined]
    assert "deepcopy(table)" in inspect.getsource(schema_utils.fill_hints_from_parent_and_clone_table)
    table = {"name": "usage", "columns": {"id": {"primary_key": True}}, "filters": [["a", 1, None]], "other": {Path("x")}}
    copied = copy_json(table)
    assert copied == copy.deepcopy(table)
    copied["columns"]["id"]["primary_key"] = False
    copied["filters"][0].clear()
    copied["other"].clear()
    assert table["columns"] == {"id": {"primary_key": True}}
    assert table["filters"] == [["a", 1, None]]
    assert table["other"]
