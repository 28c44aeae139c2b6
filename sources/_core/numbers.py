"""Numbers from text: exact, finite, and never through float."""

from decimal import Decimal


def decimal_from_text(text: str) -> Decimal:
    """The exact value of a JSON number's text.

    Raises:
        ValueError: `text` is not a finite number.
    """
    value = Decimal(text)
    if not value.is_finite():
        raise ValueError(f"{text} is not a number")
    return value
