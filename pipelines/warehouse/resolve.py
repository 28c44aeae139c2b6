"""Resolves a destination by its name in dlt's configuration; by default, DuckDB in the working directory."""

import os
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import PurePath
from typing import Any

import dlt
from dlt.common.configuration.exceptions import ConfigFieldMissingException, InvalidNativeValue, ValueNotSecretException
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.exceptions import MissingDependencyException
from fsspec import get_filesystem_class

from meterhouse.pipelines.warehouse.destination import Destination, public_location
from meterhouse.pipelines.warehouse.duckdb import DuckDBDestination
from meterhouse.pipelines.warehouse.duckdb_file import require_usable_file
from meterhouse.pipelines.warehouse.installation import install_command
from meterhouse.pipelines.warehouse.lake import LakeDestination
from meterhouse.pipelines.warehouse.postgres import PostgresDestination, configured_credentials
from meterhouse.pipelines.warehouse.staging import own_staging_layout
from meterhouse.sources._core.config.parse import is_json, parse_json
from meterhouse.sources._core.config.secrets import looks_like_key
from meterhouse.sources._core.config.unknown_settings import (
    require_correct_variable_names,
    require_known,
    require_known_sections,
    require_known_top_sections,
    require_unset,
    tables_in,
)
from meterhouse.sources._core.dlt_compat.settings import destination_configuration, settings_of, use_own_settings
from meterhouse.sources._core.dlt_compat.speed import cache_capabilities, speed_up_dlt
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources.registry import PROVIDERS

DEFAULT_DATABASE = "meterhouse.duckdb"

TABLE_FORMAT = "delta"
"""The table format of files. dlt can only append to plain files, and cannot delete withdrawn rows from Iceberg tables."""


NAME = re.compile(r"\w[\w.-]*")
"""The name of a destination, or the path of its class."""

VOLATILE = frozenset({"memory"})
"""Protocols of files that end with the process."""

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


def resolve_destination(name: str | None = None, *, database: str | None = None, read_only: bool = False) -> Destination:
    """The destination called `name`; with `database`, the DuckDB file at that path.

    Raises:
        ConfigurationError: dlt knows no such destination, its credentials are incomplete or cannot be parsed, its file has a
            name that cannot be used, or, without `read_only`, cannot be written. No message shows the credentials.
    """
    use_own_settings()
    speed_up_dlt()
    name = name or "duckdb"
    if not NAME.fullmatch(name):  # it may be an address with a password: no message may show it
        raise ConfigurationError(
            "--destination takes the name of a destination, not an address",
            hint="Write a name such as postgres, and set the address as destination.postgres.credentials.",
        )
    require_known_top_sections(PROVIDERS)
    _require_known_destination(name)
    _require_unmoved(name)
    if not database:
        _require_parsable(name)
    dlt_destination, configuration, location = _configured(name, database)
    setting = f"destination.{name}.credentials"
    kind = configuration.destination_type.rsplit(".", 1)[-1]
    _require_plausible(setting, kind, location, configuration.credentials)
    dlt_destination = cache_capabilities(dlt_destination)
    match kind:
        case "duckdb":
            credentials = configuration.credentials
            require_known(f"destination.{name}.credentials", settings_of(credentials))
            may_stay_open = not credentials.statements and "custom_user_agent" not in (credentials.global_config or {})
            destination = DuckDBDestination(name, kind, location, dlt_destination, may_stay_open)
            require_usable_file(destination.file)
            if not read_only:
                destination.require_writable()
            return destination
        case "postgres":
            require_known(f"destination.{name}.credentials", settings_of(configuration.credentials))
            return PostgresDestination(name, kind, location, dlt_destination)
        case "filesystem" if find_spec("deltalake") is None:
            raise ConfigurationError(
                "files are written as Delta tables, and deltalake is not installed", hint=f"{install_command('delta')}."
            )
        case "filesystem":
            _require_protocol(name, configuration.protocol)
            return LakeDestination(name, kind, location, dlt_destination)
        case _:
            return Destination(name, kind, location, dlt_destination)


def _configured(name: str, database: str | None) -> tuple[Any, Any, str]:
    """The destination of dlt, its resolved configuration, and its location.

    Raises:
        ConfigurationError: dlt refuses the configuration, or a setting is unknown.
    """
    setting = f"destination.{name}.credentials"
    try:
        require_known(f"destination.{name}", settings_of(dlt.destination(name).spec) | OF_METERHOUSE)
        dlt_destination = dlt.destination(name, **_settings(name, database))
        configuration = destination_configuration(dlt_destination, name)
        return dlt_destination, configuration, public_location(str(configuration.data_location()))
    except ConfigurationError:
        raise
    except UnknownDestinationModule:
        problem = f"the destination {name!r} cannot be used: dlt has no destination of that name"
        hint = f"Name a dlt destination such as duckdb or postgres, or set destination.{name}.destination_type."
    except ValueNotSecretException:
        problem = f"{setting} is in config.toml, where dlt refuses credentials"
        hint = f"Move [{setting}] to .dlt/secrets.toml or to the environment."
    except InvalidNativeValue:
        problem = f"{setting} cannot be parsed"
        hint = (
            "Write it as engine://user:password@host:port/database, with special characters of the password encoded"
            f" (%40 for @), or as single settings in [{setting}]."
        )
    except Exception as error:  # noqa: BLE001 - dlt's errors here have no common base class
        problem = f"the destination {name!r} cannot be used ({_reason(error)})"
        hint = f"Name a dlt destination, install its extra, and set its credentials under [destination.{name}]."
    raise ConfigurationError(problem, hint=hint)


def _require_known_destination(name: str) -> None:
    """Refuses settings that look meant for this destination but would have no effect.

    Raises:
        ConfigurationError: there is one.
    """
    require_unset(
        "destination",
        ("credentials",),
        reason="is not in the section of a destination",
        hint=f"Set it as destination.{name}.credentials, or remove it.",
    )
    others = [other for other in tables_in("destination") if dlt.config.get(f"destination.{other}.destination_type", str)]
    require_known_sections("destination", [name], others=others)
    require_correct_variable_names([f"destination.{name}"])


def _require_unmoved(name: str) -> None:
    reason = "changes which tables rows land in, or which rows; meterhouse works only with dlt's default"
    for section in ("destination", f"destination.{name}"):
        require_unset(section, FIXED, reason=reason)
    for variable in DLT_VARIABLES:
        if os.environ.get(variable):
            raise ConfigurationError(f"the environment variable {variable} {reason}", hint="Unset it for meterhouse.")


def _require_parsable(name: str) -> None:
    """Checks the text of the credentials, before dlt takes what it cannot parse for the path of a file."""
    key = f"destination.{name}.credentials"
    texts: list[Any] = [dlt.secrets.get(key), dlt.config.get(key)]
    for text in texts:
        if isinstance(text, str) and is_json(text):
            parse_json(text, setting=key)


def _require_plausible(setting: str, kind: str, location: str, credentials: Any) -> None:
    """Checks what will be printed: that no part of a password or token was taken for a host, a path or a name."""
    if kind == "filesystem":
        setting = setting.replace(".credentials", ".bucket_url")
    if not location.isprintable():
        raise ConfigurationError(f"{setting} has line breaks or control characters", hint="Write it again, without them.")
    if "@" in (getattr(credentials, "host", None) or ""):
        raise ConfigurationError(f'{setting} contains two "@"', hint="Write the one in the password as %40.")
    if kind in {"postgres", "redshift"} and not str(credentials.drivername).startswith(("postgres", "redshift")):
        raise ConfigurationError(  # the driver would repeat the whole URL in its error
            f"{setting} is not a {kind} URL", hint=f"Start it with {kind}://."
        )
    if kind in {"postgres", "redshift"} and re.search(r"[\s=]", location):  # such as "db password=…"
        raise ConfigurationError(f"{setting} has a host or a database name with white space or =", hint="Write it without.")
    if kind == "duckdb":
        if re.search(r"(^|/)(md|motherduck):|motherduck_token", location, re.IGNORECASE):
            raise ConfigurationError(
                f"{setting} is a MotherDuck URL",
                hint="Use --destination motherduck, with the token in DESTINATION__MOTHERDUCK__CREDENTIALS__PASSWORD.",
            )
        is_url = credentials.host or credentials.password or re.search(r"/[a-z][a-z0-9+.-]+:/", location)
        if is_url or is_json(PurePath(location).name):
            raise ConfigurationError(f"{setting} is not the path of a file", hint="Write it as usage.duckdb.")
    if kind in {"duckdb", "filesystem"} and looks_like_key(PurePath(location).name):
        raise ConfigurationError(f"the file name in {setting} looks like a key", hint="Write the path of a file.")


def _require_protocol(name: str, protocol: str) -> None:
    """Checks that files can be written by this protocol, before a library refuses it without a hint."""
    if protocol in VOLATILE:
        raise ConfigurationError(
            f"destination.{name}.bucket_url is in memory, so that all rows would be lost at the end of the run",
            hint="Use a path, or a URL such as s3://bucket/folder.",
        )
    try:
        get_filesystem_class(protocol)
    except (ValueError, ImportError):
        raise ConfigurationError(
            f"destination.{name}.bucket_url has a protocol that is unknown, or whose package is not installed",
            hint="Use a path, or a URL such as s3://bucket/folder; the URL needs a dlt extra, such as dlt[s3].",
        ) from None


def _reason(error: Exception) -> str:
    """Why dlt refuses a destination. Messages of other errors may hold a part of the credentials."""
    if isinstance(error, ConfigFieldMissingException | MissingDependencyException | ImportError):
        return str(error).strip().splitlines()[0]
    return type(error).__name__


def _settings(name: str, database: str | None) -> dict[str, Any]:
    """What meterhouse passes to dlt's destination explicitly."""
    kind = dlt.config.get(f"destination.{name}.destination_type", str) or name
    if kind.endswith("filesystem"):
        return {"preferred_table_format": _table_format(name)}
    if kind.rpartition(".")[2] == "duckdb":
        return _file_settings(name, database)
    staging = "staging_dataset_name_layout"
    settings: dict[str, Any] = {staging: own_staging_layout()} if staging in settings_of(dlt.destination(name).spec) else {}
    if kind.endswith("postgres"):
        settings["credentials"] = configured_credentials(name)
    return settings


def _file_settings(name: str, database: str | None) -> dict[str, Any]:
    """The path of the DuckDB file. It is no secret, but dlt would refuse it in config.toml."""
    key = f"destination.{name}.credentials"
    accessors: tuple[Any, ...] = (dlt.secrets, dlt.config)
    for settings in accessors:
        credentials = settings.get(key)
        if isinstance(credentials, Mapping):
            credentials = credentials.get("database")
        database = database or credentials or settings.get(f"{key}.database")
    if not database and name == "duckdb":
        database = DEFAULT_DATABASE
    return {"credentials": str(database)} if database else {}


def _table_format(name: str) -> str:
    setting = f"destination.{name}.preferred_table_format"
    if dlt.config.get(setting, str) not in {None, TABLE_FORMAT}:
        raise ConfigurationError(
            f"{setting} is another format; a new fetch can replace an older one only in Delta tables",
            hint=f"Remove it, or set it to {TABLE_FORMAT!r}.",
        )
    return TABLE_FORMAT
