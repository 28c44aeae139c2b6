"""Extracts and loads all sources at the same time."""

import time
from collections.abc import Mapping
from threading import Lock, Thread

from dlt.pipeline.exceptions import PipelineStepFailed
from dlt.sources import DltSource

from meterhouse.pipelines.run.events import LoadFailed, ProviderLoaded
from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import LoadError, describe_error
from meterhouse.sources._core.errors import SourceError
from meterhouse.sources._core.events import Place


def load(sources: Mapping[str, DltSource], destination: Destination, state: RunState) -> None:
    """Extracts and loads all sources at the same time. A failure goes into the state; the others are loaded."""
    writing = Lock()

    def load_provider(provider: str) -> None:
        began = time.monotonic()
        try:
            load_one(destination, provider, sources[provider], writing)
            state.observe(ProviderLoaded(provider, time.monotonic() - began))
        except Exception as error:  # noqa: BLE001 - no error of one provider may stop the others
            state.observe(LoadFailed(Place(provider), as_load_error(provider, error, destination)))

    # Daemon threads: those of a pool would keep the process alive after Ctrl-C, until their provider responds.
    threads = [Thread(target=load_provider, args=(provider,), name=f"load {provider}", daemon=True) for provider in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def load_one(destination: Destination, name: str, source: DltSource, writing: Lock) -> None:
    """Fetches in parallel, and writes one provider at a time, holding `writing`: DuckDB allows one writer."""
    with writing, destination.hold_open():
        # The destination is the source of truth, so dlt's working directory is dropped. Otherwise dlt would prefer a newer
        # state in that directory, although a database restored from a backup lacks the rows that its cursors claim. dlt
        # would also load the package that a killed run left behind, although this run requests the same windows again.
        pipeline = destination.pipeline(name).drop()
        pipeline.sync_destination()
    pipeline.extract(source)
    with writing, destination.hold_open():
        if pipeline.has_pending_data:
            pipeline.normalize()
            pipeline.load(raise_on_failed_jobs=True)


def root_cause(error: BaseException) -> BaseException:
    """The first cause in the chain of an error, or its first `SourceError`."""
    cause = error
    while (inner := cause.__cause__ or getattr(cause, "exception", None)) is not None and inner is not cause:
        cause = inner
        if isinstance(cause, SourceError):
            break
    return cause


def as_load_error(provider: str, error: BaseException, destination: Destination) -> Exception:
    """The root cause in one line; dlt wraps it in several exceptions with long explanations.

    If dlt had not written anything yet, the message does not blame the destination.
    """
    cause = root_cause(error)
    if isinstance(cause, SourceError):
        return cause
    if isinstance(error, PipelineStepFailed) and error.step in {"extract", "normalize"}:
        reason = " ".join(f"{type(cause).__name__} {cause}".split())[:300]
        return LoadError(f"{provider}: its response could not be converted to tables ({reason}). Please report it")
    return LoadError(f"{provider}: {describe_error(cause, destination.location)}")
