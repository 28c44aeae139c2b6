"""Text that is safe to open in a spreadsheet."""

from typing import Any

FORMULA_STARTS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""First characters of a formula; the wide ones come from East Asian keyboards."""


def escape_formula(value: Any, text: str) -> str:
    """`text`, the CSV form of `value`, with an apostrophe before anything that a spreadsheet would compute.

    Vendors and users choose names freely. A negative number is not text and stays unchanged.
    """
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA_STARTS) else text
