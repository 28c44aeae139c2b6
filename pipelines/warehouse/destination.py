"""Where a run loads to: any dlt destination by name, DuckDB in the working directory by default."""

import hashlib
import os
import stat
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.pipeline import get_dlt_pipelines_dir
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from meterhouse.sources._core.dlt_compat import cache_capabilities, speed_up_config_lookups
from meterhouse.sources._core.errors import ConfigurationError

DEFAULT_DATABASE = "meterhouse.duckdb"


TABLE_FORMAT = "delta"
"""Of files. To plain ones dlt can only append, and from Iceberg's it deletes nothing that a vendor has withdrawn."""


RESERVED = frozenset({"mathpix", "reducto", "onepin", "scopix", "billing", "usage"})
"""The schemas of the raw tables and of the marts."""


class LoadError(Exception):
    """The destination cannot be used, or what a provider answered could not be loaded into it. The message is one line."""


@dataclass(frozen=True)
class Destination:
    """A resolved destination. `location` is a DuckDB file's path, or host and database; it holds no credentials.

    A DuckDB file may not stay open where the user has dlt say statements at each opening, such as ATTACH, that cannot be
    said twice, or open it with an option: in one process, all that have it open must agree on those.
    """

    name: str
    type: str
    location: str
    dlt_destination: Any
    may_stay_open: bool = True

    @property
    def working_dir(self) -> Path:
        """Where dlt keeps pending packages and a copy of the state, one folder a destination.

        dlt finds a pipeline's local state by its name alone. With one folder for all, the cursors of a demo would be
        those of the real database after it, and its history would never be asked for.
        """
        digest = hashlib.sha256(f"{self.type} {self.location}".encode()).hexdigest()[:12]
        return Path(get_dlt_pipelines_dir()) / f"meterhouse-{self.type}-{digest}"

    def pipeline(self, provider: str, *, dataset: str | None = None) -> dlt.Pipeline:
        """The pipeline that loads `provider` into the dataset of the same name, or of another one."""
        return dlt.pipeline(
            provider,
            destination=self.dlt_destination,
            dataset_name=dataset or provider,
            pipelines_dir=str(self.working_dir),
        )


def resolve_destination(name: str | None = None, *, database: str | None = None) -> Destination:
    """The destination called `name` in dlt's configuration; DuckDB at `database` where that is given.

    Raises:
        ConfigurationError: dlt knows no such destination, its credentials are incomplete, or its file cannot be written.
    """
    speed_up_config_lookups()
    name = name or "duckdb"
    settings: dict[str, Any] = {}
    if (dlt.config.get(f"destination.{name}.destination_type", str) or name).endswith("filesystem"):
        settings["preferred_table_format"] = _table_format(name)
    if name == "duckdb":
        key = "destination.duckdb.credentials"
        configured = dlt.secrets.get(key, str) or dlt.config.get(key, str)
        if database or not configured:
            settings["credentials"] = database or DEFAULT_DATABASE
    try:
        destination = dlt.destination(name, **settings)
        resolved = configuration_of(destination, name)
        location = str(resolved.data_location())
    except UnknownDestinationModule:
        raise ConfigurationError(
            f"the destination {name!r} cannot be used: dlt knows none of that name",
            hint=f"Name a dlt destination such as duckdb or postgres, or set destination.{name}.destination_type.",
        ) from None
    except Exception as error:  # noqa: BLE001 - dlt has no common base for "this destination cannot be used"
        raise ConfigurationError(
            f"the destination {name!r} cannot be used ({first_line(error)})",
            hint=f"Name a dlt destination, install its extra, and set its credentials under [destination.{name}].",
        ) from None
    if resolved.destination_type.endswith("filesystem") and find_spec("deltalake") is None:
        raise ConfigurationError(
            "files are written as Delta tables, and deltalake is not installed", hint="pip install 'meterhouse[delta]'."
        )
    may_stay_open = True
    if resolved.destination_type.endswith("duckdb"):
        _require_writable(Path(location))
        credentials = resolved.credentials
        may_stay_open = not credentials.statements and "custom_user_agent" not in (credentials.global_config or {})
    kind = resolved.destination_type.rsplit(".", 1)[-1]
    return Destination(name, kind, location, cache_capabilities(destination), may_stay_open)


def _table_format(name: str) -> str:
    setting = f"destination.{name}.preferred_table_format"
    if dlt.config.get(setting, str) not in {None, TABLE_FORMAT}:
        raise ConfigurationError(
            f"{setting} is {dlt.config.get(setting, str)!r}, where a window that is fetched again could not replace itself",
            hint=f"Take it out, or set it to {TABLE_FORMAT!r}.",
        )
    return TABLE_FORMAT


def configuration_of(dlt_destination: Any, name: str) -> Any:
    """What dlt makes of the configuration of a destination, credentials included."""
    initial: Any = dlt_destination.spec()
    initial._bind_dataset_name(dataset_name=name)  # noqa: SLF001 - there is no public way without a pipeline
    if hasattr(initial, "local_dir"):
        initial.local_dir = str(Path.cwd())
    return dlt_destination.configuration(initial)


def _require_writable(file: Path) -> None:
    if file.stem in RESERVED:
        # DuckDB calls a database by its file's name, and then cannot tell mathpix.table from that of another schema.
        raise ConfigurationError(
            f"the database file {file} has the name of a schema that it is to hold",
            hint=f"Call it anything but {', '.join(sorted(RESERVED))}.",
        )
    hint = "Make it writable, or set another file in DESTINATION__DUCKDB__CREDENTIALS."
    if file.is_dir():
        raise ConfigurationError(f"the database {file} is a folder", hint="Name a file in it.")
    if file.exists():
        # The superuser may write whatever its mode says; a file that nobody may write was still meant to stay as it is.
        if not file.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(file, os.W_OK):
            raise ConfigurationError(f"the database file {file} is read-only", hint=hint)
    elif not file.parent.is_dir():
        raise ConfigurationError(f"there is no folder {file.parent} for the database", hint="Make it first.")
    elif not os.access(file.parent, os.W_OK):
        raise ConfigurationError(f"the folder {file.parent} is read-only", hint=hint)


def query_rows(client: Any, query: str, *parameters: Any) -> list[dict[str, Any]]:
    """What a query answers; nothing where its table was never built, which is for others to say."""
    try:
        with client.execute_query(query, *parameters) as cursor:
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    except DatabaseUndefinedRelation:
        return []


def describe_error(error: BaseException, destination: Destination) -> str:
    """What a destination's error says, in one line."""
    if isinstance(error, LoadError):  # which says so already
        return str(error)
    said = " ".join(str(error).split()) or type(error).__name__
    if "Could not set lock" in said or "being used by another process" in said:
        return f"another process has {destination.location} open. Close it, then run again"
    return f"{destination.location} cannot be used: {said[:300]}"


def first_line(error: BaseException) -> str:
    """What an error says, without the explanations that dlt puts below."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
