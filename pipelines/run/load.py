"""Extracts and loads all sources at the same time."""

import time
from collections.abc import Mapping
from threading import Lock, Thread

import dlt
from dlt.pipeline.exceptions import PipelineStepFailed
from dlt.sources import DltSource

from meterhouse.pipelines.run.events import LoadFailed, ProviderLoaded
from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import LoadError, describe_error
from meterhouse.sources._core.errors import SourceError
from meterhouse.sources._core.events import Place
from meterhouse.sources._core.package import bounded_package
from meterhouse.sources._core.run_id import stamp_run_id


def load(
    sources: Mapping[str, DltSource], pipelines: Mapping[str, dlt.Pipeline], destination: Destination, state: RunState
) -> None:
    """Extracts and loads the sources at the same time, each by its pipeline. A failure goes into the state."""
    writing = Lock()

    def load_provider(provider: str, pipeline: dlt.Pipeline) -> None:
        began = time.monotonic()
        try:
            load_one(pipeline, sources[provider], destination, writing, state.run_id)
            state.observe(ProviderLoaded(provider, time.monotonic() - began))
        except Exception as error:  # noqa: BLE001 - no error of one provider may stop the others
            state.observe(LoadFailed(Place(provider), as_load_error(provider, error, destination)))

    # Daemon threads: those of a pool would keep the process alive after Ctrl-C, until their provider responds.
    threads = [Thread(target=load_provider, args=item, name=f"load {item[0]}", daemon=True) for item in pipelines.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def restored_pipelines(
    sources: Mapping[str, DltSource], destination: Destination, state: RunState
) -> dict[str, dlt.Pipeline]:
    """The pipelines of the sources. A pipeline that cannot be restored is a failure in the state, and left out."""
    pipelines = {}
    for provider in sources:
        try:
            pipelines[provider] = destination.restored_pipeline(provider)
        except Exception as error:  # noqa: BLE001 - no error of one provider may stop the others
            state.observe(LoadFailed(Place(provider), as_load_error(provider, error, destination)))
    return pipelines


def load_one(pipeline: dlt.Pipeline, source: DltSource, destination: Destination, writing: Lock, run_id: str) -> None:
    """Fetches in parallel, and writes one provider at a time, holding `writing`: DuckDB allows one writer.

    A long sync is loaded in several packages, each with its cursors.
    """
    has_more = True
    while has_more:
        with stamp_run_id(run_id), bounded_package() as package:
            pipeline.extract(source)
        has_more = package.has_more
        if pipeline.has_pending_data:
            with writing:
                _load_package(pipeline, destination)


def _load_package(pipeline: dlt.Pipeline, destination: Destination) -> None:
    pipeline.normalize()
    with destination.hold_open():
        destination.require_exclusive()
        try:
            loaded = pipeline.load(raise_on_failed_jobs=True)
            destination.require_loaded(pipeline, loaded.loads_ids)
        finally:
            destination.drop_staging(pipeline)


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
    return LoadError(f"{provider}: {destination.explain(describe_error(cause, destination.location))}")
