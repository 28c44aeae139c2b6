"""How the texts of cells become values: numbers, names of standards, and the cells of owners.

A parser raises ValueError with the reason: what is wrong with the text, and how to write it instead.
"""

import json
import re
from decimal import Decimal
from functools import cache
from zoneinfo import available_timezones

from .currencies import CURRENCIES


def quoted(text: str) -> str:
    """The text in quotation marks, cut if it is long."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


_NUMBER = re.compile(r"[+-]?(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?")
_DECIMALS = 9
_DIGITS = 19


def parse_number(text: str, decimals: int = _DECIMALS) -> Decimal:
    """A number of at most 19 digits before the decimal point and `decimals` after it."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(f"{quoted(text)} is not a number; write it like 1234.56")
    if len(match[1].lstrip("0")) > _DIGITS:
        raise ValueError(f"{quoted(text)} has more than {_DIGITS} digits before the decimal point")
    if len((match[2] or "").rstrip("0")) > decimals:
        raise ValueError(f"{quoted(text)} has more than {decimals} decimal places")
    return Decimal(text).quantize(Decimal(1).scaleb(-decimals))


RATE_DECIMALS = 12
"""Enough for six significant digits of one Iranian rial in US dollars."""


def parse_rate(text: str) -> Decimal:
    """An exchange rate above 0, with at most 12 decimal places."""
    rate = parse_number(text, RATE_DECIMALS)
    if rate <= 0:
        raise ValueError(f"{quoted(text)} is not above 0")
    return rate


def parse_units(text: str) -> Decimal:
    """A positive whole number; 1 if blank."""
    number = parse_number(text or "1")
    if number < 1 or number % 1:
        raise ValueError(f"{quoted(text)} is not a positive whole number")
    return number


def parse_currency(text: str) -> str:
    """An ISO 4217 currency code."""
    if text not in CURRENCIES:
        raise ValueError(f"{quoted(text)} is not an ISO 4217 currency code; write it like USD or EUR")
    return text


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())


def parse_timezone(text: str) -> str:
    """An IANA time zone."""
    if text not in _timezones():
        raise ValueError(f"{quoted(text)} is not an IANA time zone; write it like America/New_York or UTC")
    return text


def parse_grant_unit(text: str) -> str:
    """`credit`, or a currency code."""
    if text != "credit" and text not in CURRENCIES:
        raise ValueError(f"{quoted(text)} is neither credit nor an ISO 4217 currency code")
    return text


UNOWNED = "unowned"
"""The team of cost without an owner, in the models."""


def parse_owner_name(text: str) -> str:
    """A name that the models can write into JSON as it is."""
    if not text.isprintable() or '"' in text or "\\" in text:
        raise ValueError(f"{quoted(text)} contains a quotation mark, a backslash or a control character")
    return text


def parse_team(text: str) -> str:
    """The name of a team; not the name of cost without an owner."""
    if text == UNOWNED:
        raise ValueError(f"{UNOWNED} is the name of cost without an owner; choose another name, or delete the row")
    return parse_owner_name(text)


def parse_pattern(text: str) -> str:
    """A value of a dimension, or the start of values and a `*`."""
    if "*" in text[:-1]:
        raise ValueError(f"{quoted(text)} has a * that is not at its end; write a pattern like team-a-*")
    return text


def parse_owned_value(text: str) -> str:
    """A pattern of values that a vendor returns."""
    if text == "(unattributed)":
        raise ValueError("no value of a vendor; leave dimension and value blank to map what no other row maps")
    return parse_pattern(text)


def parse_tags(text: str) -> str:
    """Tags such as `env=prod;product=search`, as a JSON object."""
    tags: dict[str, str] = {}
    for tag in filter(None, map(str.strip, text.split(";"))):
        name, equals, value = (part.strip() for part in tag.partition("="))
        if not equals or not name:
            raise ValueError(f"{quoted(tag)} is not a tag; write tags like env=prod;product=search")
        if name in tags or name in ("team", "cost_centre"):
            raise ValueError(f"the tag {quoted(name)} " + ("appears twice" if name in tags else "is a column of its own"))
        tags[parse_owner_name(name)] = parse_owner_name(value)
    if not tags:
        raise ValueError(f"{quoted(text)} has no tag; write tags like env=prod;product=search")
    return json.dumps(tags, ensure_ascii=False)


EVEN, PROPORTIONAL = "even", "proportional"


def parse_share(text: str) -> str:
    """A share above 0 and up to 1 without zeros at its end, `even` or `proportional`."""
    if text in (EVEN, PROPORTIONAL):
        return text
    share = parse_number(text) if _NUMBER.fullmatch(text) else None
    if share is None or not 0 < share <= 1:
        raise ValueError(f"{quoted(text)} is neither a number above 0 and up to 1, nor {EVEN}, nor {PROPORTIONAL}")
    return f"{share.normalize():f}"


NO_THRESHOLDS = "none"


def parse_thresholds(text: str) -> str:
    """Percentages such as `50;80;100`, each once and in order; `none` for no threshold."""
    if text == NO_THRESHOLDS:
        return text
    parts = [part.strip() for part in text.split(";")]
    if not all(re.fullmatch("[1-9][0-9]{0,2}|1000", part) for part in parts):
        raise ValueError(f"{quoted(text)} is not a list of whole percentages from 1 to 1000; write it like 50;80, or none")
    return ";".join(map(str, sorted(set(map(int, parts)))))
