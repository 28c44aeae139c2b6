"""JSON bodies become exact values, and text that no database can store is mended."""

import pytest

from meterhouse.sources._core.http.decoding import decode_json


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'\xef\xbb\xbf{"a": "after a byte order mark"}', "after a byte order mark"),
        (rb'{"a": "cut \ud83d"}', "cut \ufffd"),
        (rb'{"a": "\ude00 cut"}', "\ufffd cut"),
        (b'{"a": "cut \xed\xa0\xbd"}', "cut \ufffd"),
        (rb'{"a": "\ud83d\ud83d\ude00"}', "\ufffd\U0001f600"),
        (rb'{"a": "\ud83d\ude00"}', "\U0001f600"),
        (rb'{"a": "\\ud83d"}', "\\ud83d"),
        (rb'{"a": "\\\ud83d!"}', "\\\ufffd!"),
    ],
)
def test_replaces_lone_surrogates(body: bytes, text: str) -> None:
    """As an escape or as bytes; a whole pair and an escaped backslash stay, and a byte order mark is skipped."""
    assert decode_json(body) == decode_json(bytearray(body)) == {"a": text}


def test_a_mended_body_is_still_checked_for_duplicate_names() -> None:
    """Two fields of one name are ambiguous."""
    with pytest.raises(ValueError, match="two fields of one name"):
        decode_json(rb'{"a": "\ud83d", "a": "b"}')
