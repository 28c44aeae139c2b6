"""Resolves a destination by its name in dlt's configuration; by default, DuckDB in the working directory."""

import os
from importlib.util import find_spec
from typing import Any

import dlt
from dlt.common.destination.exceptions import UnknownDestinationModule

from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.duckdb import DuckDBDestination
from meterhouse.pipelines.warehouse.errors import first_line
from meterhouse.pipelines.warehouse.lake import LakeDestination
from meterhouse.pipelines.warehouse.postgres import PostgresDestination
from meterhouse.sources._core.config.unknown_settings import require_known, require_known_top_sections, require_unset
from meterhouse.sources._core.dlt_compat import (
    cache_capabilities,
    destination_configuration,
    settings_of,
    use_own_settings,
)
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources.registry import PROVIDERS

DEFAULT_DATABASE = "meterhouse.duckdb"

TABLE_FORMAT = "delta"
"""The table format of files. dlt can only append to plain files, and cannot delete withdrawn rows from Iceberg tables."""


FIXED = (
    "staging_dataset_name_layout",
    "staging_config",
    "as_staging_destination",
    "truncate_tables_on_staging_destination_before_load",
    "enable_dataset_name_normalization",
    "replace_strategy",
    "csv_format",
)
"""Settings of a dlt destination that change which tables rows land in, or which rows."""

OF_METERHOUSE = frozenset({"destination_type", "preferred_table_format"})
"""Settings of a destination that are not in dlt's configuration of its type."""

DLT_VARIABLES = ("DLT_DEFAULT_NAMING_MODULE", "DLT_DEFAULT_NAMING_NAMESPACE")
"""Variables that dlt reads outside of its configuration, and that change the names of tables and columns."""


def resolve_destination(name: str | None = None, *, database: str | None = None) -> Destination:
    """The destination called `name`; with `database`, the DuckDB file at that path.

    Raises:
        ConfigurationError: dlt knows no such destination, its credentials are incomplete, or its file cannot be written.
    """
    use_own_settings()
    name = name or "duckdb"
    require_known_top_sections(PROVIDERS)
    _require_unmoved(name)
    try:
        dlt_destination = dlt.destination(name, **_settings(name, database))
        require_known(f"destination.{name}", settings_of(dlt_destination.spec) | OF_METERHOUSE)
        configuration = destination_configuration(dlt_destination, name)
        location = str(configuration.data_location())
    except ConfigurationError:
        raise
    except UnknownDestinationModule:
        raise ConfigurationError(
            f"the destination {name!r} cannot be used: dlt has no destination of that name",
            hint=f"Name a dlt destination such as duckdb or postgres, or set destination.{name}.destination_type.",
        ) from None
    except Exception as error:  # noqa: BLE001 - dlt's errors here have no common base class
        raise ConfigurationError(
            f"the destination {name!r} cannot be used ({first_line(error)})",
            hint=f"Name a dlt destination, install its extra, and set its credentials under [destination.{name}].",
        ) from None
    kind = configuration.destination_type.rsplit(".", 1)[-1]
    dlt_destination = cache_capabilities(dlt_destination)
    match kind:
        case "duckdb":
            credentials = configuration.credentials
            require_known(f"destination.{name}.credentials", settings_of(credentials))
            may_stay_open = not credentials.statements and "custom_user_agent" not in (credentials.global_config or {})
            destination = DuckDBDestination(name, kind, location, dlt_destination, may_stay_open)
            destination.require_writable()
            return destination
        case "postgres":
            require_known(f"destination.{name}.credentials", settings_of(configuration.credentials))
            return PostgresDestination(name, kind, location, dlt_destination)
        case "filesystem" if find_spec("deltalake") is None:
            raise ConfigurationError(
                "files are written as Delta tables, and deltalake is not installed", hint="pip install 'meterhouse[delta]'."
            )
        case "filesystem":
            return LakeDestination(name, kind, location, dlt_destination)
        case _:
            return Destination(name, kind, location, dlt_destination)


def _require_unmoved(name: str) -> None:
    reason = "changes which tables rows land in, or which rows; meterhouse works only with dlt's default"
    for section in ("destination", f"destination.{name}"):
        require_unset(section, FIXED, reason=reason)
    for variable in DLT_VARIABLES:
        if os.environ.get(variable):
            raise ConfigurationError(f"the environment variable {variable} {reason}", hint="Unset it for meterhouse.")


def _settings(name: str, database: str | None) -> dict[str, Any]:
    """What meterhouse passes to dlt's destination explicitly."""
    if (dlt.config.get(f"destination.{name}.destination_type", str) or name).endswith("filesystem"):
        return {"preferred_table_format": _table_format(name)}
    if name == "duckdb":
        key = "destination.duckdb.credentials"
        configured = dlt.secrets.get(key, str) or dlt.config.get(key, str)
        if database or not configured:
            return {"credentials": database or DEFAULT_DATABASE}
    return {}


def _table_format(name: str) -> str:
    setting = f"destination.{name}.preferred_table_format"
    if dlt.config.get(setting, str) not in {None, TABLE_FORMAT}:
        raise ConfigurationError(
            f"{setting} is {dlt.config.get(setting, str)!r}; a new fetch can replace an older one only in Delta tables",
            hint=f"Remove it, or set it to {TABLE_FORMAT!r}.",
        )
    return TABLE_FORMAT
