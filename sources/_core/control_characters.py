"""Control characters in names that vendors and users chose."""

import unicodedata

_CONTROLS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control and formatting characters (escape sequences, line breaks, directions), lone surrogates, paragraph breaks."""

_JOINERS = "\u200c\u200d"
"""Parts of words in some scripts, and of emoji."""


def escape_control_characters(text: str) -> str:
    r"""Escapes control and bidirectional characters (`\x1b`), so that the text stays on one line.

    A terminal, log or chat would interpret them. They can erase lines, forge lines, or reverse the text.
    """
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _CONTROLS and character not in _JOINERS
        else character
        for character in text
    )
