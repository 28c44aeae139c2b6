"""Names that vendors and users chose, as text for people."""

import unicodedata

_CONTROLS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control and formatting characters (escape sequences, line breaks, directions), lone surrogates, paragraph breaks."""

_JOINERS = "\u200c\u200d"
"""Parts of words in some scripts, and of emoji."""


def visible(text: str) -> str:
    r"""`text` in one line whose control and direction characters are written out, such as `\x1b`.

    A terminal, a log or a chat would obey them: they erase lines, forge others, or reverse what is read.
    """
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _CONTROLS and character not in _JOINERS
        else character
        for character in text
    )
