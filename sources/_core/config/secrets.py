"""Texts that may be secrets. Configuration holds keys in the wrong place often enough, and no message may show them."""

import re

_PREFIX = re.compile(r"sk[-_]|op_(?:live|test)_|eyJ|bearer\b", re.IGNORECASE)
"""How keys of the vendors, of many others, and JSON web tokens begin."""

_HASH = re.compile(r"[0-9a-f-]{12,}", re.IGNORECASE)
"""A hash, a UUID or a long number. Identifiers of apps look like this, and some keys, too."""

_RANDOM_LENGTH = 16
"""Characters of the shortest token that counts as random."""

_RUN_LENGTH = 3
"""Words and years have longer runs of letters of one case, or of digits, than random tokens on average."""


def looks_like_secret(text: str) -> bool:
    """Whether `text` has a word that may be a key: it begins like one, or is a hash or a long random token."""
    return any(_PREFIX.match(word) or _HASH.fullmatch(word) or _has_random(word) for word in _words(text))


def looks_like_key(text: str) -> bool:
    """As `looks_like_secret`, but hashes, UUIDs and numbers pass: they may be names of apps, organisations or customers."""
    return any(not _HASH.fullmatch(word) and (_PREFIX.match(word) or _has_random(word)) for word in _words(text))


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[^\w.+=-]+", text) if word]


def _has_random(word: str) -> bool:
    for part in re.findall(rf"[A-Za-z0-9]{{{_RANDOM_LENGTH},}}", word):
        runs = re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", part)
        if len(part) < _RUN_LENGTH * len(runs) and re.search(r"\d", part) and re.search(r"[A-Za-z]", part):
            return True
    return False
