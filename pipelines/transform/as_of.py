"""A build as of an earlier moment: which moment, and into which schema."""

from dataclasses import dataclass
from datetime import datetime

from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.query import Query, if_built, queries
from meterhouse.pipelines.warehouse.schemas import MODEL_SCHEMAS, REGULAR, checked_schema
from meterhouse.sources._core.config.parse import parse_moment
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.windows import utc_now

SCHEMA = "usage_as_of"
"""The default schema of the marts."""

MARK = "_as_of"
"""The table in the schema that marks it as that of such a build, and has the build's moment once it has ended."""


@dataclass(frozen=True, slots=True)
class AsOf:
    """The moment (UTC), and the schema of the marts; the other models are in the schemas `<schema>_staging` and so on."""

    moment: datetime
    schema: str = SCHEMA


def parse_as_of(moment: str | None, schema: str | None) -> AsOf | None:
    """The options `--as-of` and `--schema`; None without them.

    Raises:
        ConfigurationError: the moment is unreadable or in the future, the schema is not one for such a build, or there is
            only a schema.
    """
    if moment is None:
        if schema is not None:
            raise ConfigurationError("--schema needs --as-of", hint="The regular build is in the schema usage.")
        return None
    parsed = parse_moment(moment, setting="--as-of")
    if parsed > utc_now():
        raise ConfigurationError(
            f"--as-of {moment} is in the future", hint="Name a moment up to now, in UTC or with a zone."
        )
    return AsOf(parsed, checked_schema(SCHEMA if schema is None else schema, builds=True))


def claim_schemas(destination: Destination, as_of: AsOf) -> None:
    """Marks the schemas of a build as of an earlier moment, if they are empty or have the mark of such a build.

    dbt would replace each table that has the name of a model.

    Raises:
        ConfigurationError: they have tables and no mark.
        LoadError: the destination is not available.
    """
    schemas = [as_of.schema + name.removeprefix(REGULAR) for name in MODEL_SCHEMAS]
    with destination.reader() as reader:
        found = reader.tuples(queries()["model_tables"], *schemas)[1]
    if (as_of.schema, MARK) in found:
        destination.execute(f"delete from {as_of.schema}.{MARK}")  # noqa: S608 - the build replaces what has the old moment
        return
    if found:
        names = ", ".join(sorted({schema for schema, _ in found}))
        raise ConfigurationError(
            f"--as-of would build into schemas with tables that no such build has made: {names}",
            hint="Name another schema with --schema.",
        )
    destination.execute(f"create schema if not exists {as_of.schema}")
    destination.execute(f"create table {as_of.schema}.{MARK} (moment text)")


def moment_of(query: Query) -> datetime | None:
    """The moment of the build that `query` reads; None for the regular build, or if it has not ended."""
    rows = if_built(query)(f"select moment from {REGULAR}.{MARK}")  # noqa: S608
    return datetime.fromisoformat(rows[0]["moment"]) if rows else None


def record_moment(destination: Destination, as_of: AsOf) -> None:
    """Records the moment of the build that has ended, for `status` and the report.

    Raises:
        LoadError: the destination is not available.
    """
    destination.execute(f"insert into {as_of.schema}.{MARK} values (%s)", as_of.moment.isoformat())  # noqa: S608
