"""The schemas of the models: those of the regular build, and those of a build as of an earlier moment."""

import re
from itertools import pairwise

from meterhouse.sources._core.errors import ConfigurationError

REGULAR = "usage"
MODEL_SCHEMAS = (REGULAR, *(f"{REGULAR}_{layer}" for layer in ("staging", "intermediate", "seeds")))
"""The schemas of the regular build: the marts, and the layers below them."""


def checked_schema(name: str, *, builds: bool = False) -> str:
    """The schema that `--schema` names, for reading, or for a build as of an earlier moment.

    Such a schema begins with `usage_`, so that no build can overwrite raw tables or tables of others.

    Raises:
        ConfigurationError: the name is not allowed, or the build would overwrite a schema of the regular build.
    """
    if builds and name in MODEL_SCHEMAS:
        raise ConfigurationError(
            f"--as-of would overwrite the schema {name} of the regular build", hint="Name another one, such as usage_as_of."
        )
    if name != REGULAR and not re.fullmatch(r"usage_[a-z0-9_]{1,40}", name):
        raise ConfigurationError(
            f"--schema cannot be {name!r}", hint="Use usage_ and lowercase letters, digits or _, as in usage_as_of."
        )
    return name


def in_schema(sql: str, schema: str) -> str:
    """The query on the marts in `schema`: `usage.` becomes `schema.`, and `usage_staging.` becomes `schema_staging.`.

    Text in quotes and comments stays as it is.

    Raises:
        ConfigurationError: the query cannot be parsed.
    """
    if schema == REGULAR:
        return sql
    import sqlglot  # takes 0.1 s

    try:
        tokens = sqlglot.tokenize(sql)
    except sqlglot.errors.TokenError:
        raise ConfigurationError(
            "the query cannot be parsed, so --schema cannot be applied",
            hint=f"Name the schema {schema} in the query, without --schema.",
        ) from None
    parts, end = [], 0
    for token, following in pairwise(tokens):
        is_name = token.token_type in {sqlglot.TokenType.VAR, sqlglot.TokenType.IDENTIFIER}
        if is_name and following.token_type == sqlglot.TokenType.DOT and token.text.lower() in MODEL_SCHEMAS:
            parts += [sql[end : token.start], schema + token.text.lower().removeprefix(REGULAR)]
            end = token.end + 1
    return "".join((*parts, sql[end:]))
