"""From the bytes of a response to exact values."""

import codecs
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import httpx
import msgspec

PIECE = 1 << 20
"""Bytes of a body that are unpacked at a time."""


def decompressed(response: httpx.Response) -> Iterator[bytes]:
    """The unpacked body in pieces of at most `PIECE` bytes, even of a gzip bomb.

    httpx would unpack 64 KB of it to 64 MB, or to 64 GB if the bomb is packed twice, before it returns anything.

    Raises:
        httpx.DecodingError: the encoding was not requested, the body is not in that encoding, or the body is cut off.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        yield from response.iter_raw()
    elif encoding in {"gzip", "x-gzip"}:
        yield from _unpacked(response.iter_raw())
    else:
        raise httpx.DecodingError(f"the response has the content encoding {encoding}, which was not requested")


def _unpacked(packed: Iterable[bytes]) -> Iterator[bytes]:
    gzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # 16 asks for gzip's frame
    try:
        for chunk in packed:
            rest = chunk
            while rest and not gzip.eof:
                yield gzip.decompress(rest, PIECE)
                rest = gzip.unconsumed_tail
    except zlib.error as error:
        raise httpx.DecodingError(f"the response cannot be unpacked ({error})") from None
    if not gzip.eof:
        raise httpx.DecodingError("the compressed response is cut off")


def decode_json(body: bytes | bytearray) -> Any:
    """The value of a JSON body.

    A byte order mark is skipped. A lone surrogate (half of a cut emoji) becomes U+FFFD, because databases reject it.

    Raises:
        ValueError: `body` is not JSON, a number in it is out of range, or an object has two fields of one name, which is
            ambiguous.
        RecursionError: `body` is nested too deeply.
    """
    if body.startswith(codecs.BOM_UTF8):  # noqa: FURB188 - `removeprefix` would copy every body
        body = body[len(codecs.BOM_UTF8) :]
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        mended = _SURROGATES.sub(_replacement, body)
        if mended == body:
            raise
        body, value = mended, _decode(mended)
    # Checking each object takes ten times as long as decoding. So this encodes the value again and compares the number of
    # colons with that of the body: decoding drops duplicate fields, and their colons with them. An escaped colon (\u003a)
    # could hide the difference, so such bodies are checked object by object.
    if body.count(b":") != msgspec.json.encode(value).count(b":") or rb"\u003" in body:
        json.loads(body, object_pairs_hook=_require_distinct_names)
    return value


_SURROGATES = re.compile(
    rb"(?P<other>\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..)|\\u[dD][89a-fA-F][0-9a-fA-F]{2}|\xed[\xa0-\xbf][\x80-\xbf]"
)
"""Surrogates, as escapes or as bytes. `other` matches what stays: an escaped backslash or a complete pair."""


def _replacement(match: re.Match[bytes]) -> bytes:
    return match["other"] or rb"\ufffd"


def _require_distinct_names(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("an object has two fields of one name")


def decimal_from_text(text: str) -> Decimal:
    """The exact value of a JSON number's text.

    Raises:
        ValueError: `text` is not a finite number, or its exponent is out of range.
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text} is out of range") from None
    if not value.is_finite():
        raise ValueError(f"{text} is not a number")
    return value


_decode = msgspec.json.Decoder(float_hook=decimal_from_text).decode
