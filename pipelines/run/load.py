"""Extracts and loads all sources at the same time."""

import time
from collections.abc import Iterable, Mapping
from threading import Lock, Thread

from dlt.pipeline.exceptions import PipelineStepFailed
from dlt.sources import DltSource

from meterhouse.pipelines.output.json_log import tell
from meterhouse.pipelines.run.state import Failure, RunState
from meterhouse.pipelines.warehouse.destination import Destination, LoadError, describe_error
from meterhouse.pipelines.warehouse.duckdb import hold_open
from meterhouse.sources._core import credentials_check as check
from meterhouse.sources._core.errors import SourceError


def load(sources: Mapping[str, DltSource], destination: Destination, record: RunState) -> None:
    """Extracts and loads all sources at the same time; what fails is in the record, the others are loaded."""
    one_at_a_time = Lock()

    def load_provider(provider: str) -> None:
        began = time.monotonic()
        try:
            load_one(destination, provider, sources[provider], one_at_a_time)
            tell("loaded", provider=provider, seconds=round(time.monotonic() - began, 3))
        except Exception as error:  # noqa: BLE001 - whatever it is, it must neither stop nor hide the other providers
            record.add(Failure(provider, "", "", as_load_error(provider, error, destination)))

    # Daemons, because a pool's threads keep Ctrl-C waiting for the provider that they wait for.
    threads = [Thread(target=load_provider, args=(provider,), name=f"load {provider}", daemon=True) for provider in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def load_one(destination: Destination, name: str, source: DltSource, one_at_a_time: Lock) -> None:
    """Waiting for a provider is done side by side, writing one after the other: DuckDB has one writer, and it is quick."""
    with one_at_a_time, hold_open(destination):
        # The destination is the only truth. dlt would prefer a newer state in the working directory, whose cursors are of
        # rows that a database restored from a backup no longer has; and a package that a killed run left behind would be
        # loaded although the windows that it stands for are asked for again.
        pipeline = destination.pipeline(name).drop()
        pipeline.sync_destination()
    pipeline.extract(source)
    with one_at_a_time, hold_open(destination):
        if pipeline.has_pending_data:
            pipeline.normalize()
            pipeline.load(raise_on_failed_jobs=True)


def root_cause(error: BaseException) -> BaseException:
    """The first cause of an error, or the first of a source's own."""
    cause = error
    while (inner := cause.__cause__ or getattr(cause, "exception", None)) is not None and inner is not cause:
        cause = inner
        if isinstance(cause, SourceError):
            break
    return cause


def as_load_error(provider: str, error: BaseException, destination: Destination) -> Exception:
    """The first cause that says something, in one line; dlt wraps it in several exceptions with long explanations.

    What goes wrong before anything is written is no fault of the destination.
    """
    cause = root_cause(error)
    if isinstance(cause, SourceError):
        return cause
    if isinstance(error, PipelineStepFailed) and error.step in {"extract", "normalize"}:
        said = " ".join(f"{type(cause).__name__} {cause}".split())[:300]
        return LoadError(f"{provider}: what it answered could not be made into tables ({said}). Please report it")
    return LoadError(f"{provider}: {describe_error(cause, destination)}")


def check_credentials(sources: Mapping[str, DltSource]) -> Iterable[tuple[str, str, SourceError | None]]:
    """Provider, account, and what one cheap call of each said: None where the key works."""
    for provider, source in sources.items():
        for row in source.with_resources(check.NAME):
            yield provider, row["account"], row["error"]
