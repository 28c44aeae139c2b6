"""From the bytes of a response to exact values."""

import json
import zlib
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import httpx
import msgspec

PIECE = 1 << 20
"""Bytes of an answer that are unpacked at a time."""


def decompressed(response: httpx.Response) -> Iterator[bytes]:
    """The body in pieces that are small whatever was sent.

    httpx would make 64 MB of 64 KB of a gzip bomb, or 64 GB if it is packed twice, before it hands anything out.

    Raises:
        httpx.DecodingError: the body is packed in a way that was not asked for, or not as it says, or breaks off.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        yield from response.iter_raw()
    elif encoding in {"gzip", "x-gzip"}:
        yield from _unpacked(response.iter_raw())
    else:
        raise httpx.DecodingError(f"the answer is packed as {encoding}, which was not asked for")


def _unpacked(packed: Iterable[bytes]) -> Iterator[bytes]:
    gzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # 16 asks for gzip's frame
    try:
        for chunk in packed:
            rest = chunk
            while rest and not gzip.eof:
                yield gzip.decompress(rest, PIECE)
                rest = gzip.unconsumed_tail
    except zlib.error as fault:
        raise httpx.DecodingError(f"the answer cannot be unpacked ({fault})") from None
    if not gzip.eof:
        raise httpx.DecodingError("the packed answer is cut off")


def decode_json(body: bytes | bytearray) -> Any:
    """The value that `body` is.

    Raises:
        ValueError: it is no JSON, or an object in it has two fields of one name, of which nobody can say which is meant.
    """
    value = _decode(body)
    # Looking at each object as it is read would take ten times as long, so the colons of the answer are counted, and those
    # of what it was read as, written again, which has one less for each field that was passed over. Where a colon of a text
    # may be written as \u003a, which would make up for it, only the slow way tells.
    if body.count(b":") != msgspec.json.encode(value).count(b":") or rb"\u003" in body:
        json.loads(body, object_pairs_hook=_require_distinct_names)
    return value


def _require_distinct_names(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("an object has two fields of one name")


def decimal_from_text(text: str) -> Decimal:
    """The exact value of a JSON number's text.

    Raises:
        ValueError: `text` is not a finite number.
    """
    value = Decimal(text)
    if not value.is_finite():
        raise ValueError(f"{text} is not a number")
    return value


_decode = msgspec.json.Decoder(float_hook=decimal_from_text).decode
