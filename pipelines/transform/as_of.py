"""A build as of an earlier moment: which moment, and into which schema."""

from dataclasses import dataclass
from datetime import datetime

from meterhouse.pipelines.warehouse.schemas import checked_schema
from meterhouse.sources._core.config.parse import parse_moment
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.windows import utc_now

SCHEMA = "usage_as_of"
"""The default schema of the marts."""


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
