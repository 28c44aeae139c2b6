"""The name that a misspelled one most probably means."""

import difflib
from collections.abc import Collection


def nearest_name(name: str, known: Collection[str]) -> str | None:
    """The most similar known name, compared without case; None if none is similar."""
    folded = {other.casefold(): other for other in sorted(known)}
    near = difflib.get_close_matches(name.casefold(), folded, 1, 0.6)
    return folded[near[0]] if near else None
