"""JSON from outside, read so that nothing is bent: one object, and exactly the values its text spells.

Parsers take more than they can keep: they drop all but the last of repeated members, turn integers over 64 bits into
floats, and stop at depths of their own. Here such a text is refused. A fast parser reads every text, a few scans in C
look for what it might have bent, and only a suspect text goes through the exact check, which names each breach by its
JSON Pointer. The scans may suspect too much, never too little.
"""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from ledger.errors import Breach, InvalidRequest, MalformedJson

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTH_LIMIT = 64
BREACH_LIMIT = 100
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1

_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_LONG_RUN = b"0" * 19
_TOO_SHORT = min(len(_LONG_RUN), DEPTH_LIMIT)
"""Below so many bytes nothing can be too deep or too large."""
_LONG_NUMBER = re.compile(rb"(?<![0-9.eE+])-?[0-9]{19,}(?![0-9.eE])")
_STEPS = bytes({0x5B: 1, 0x7B: 1}.get(byte, 0xFF) for byte in range(256))
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_TOO_DEEP = f"is nested deeper than {DEPTH_LIMIT} levels"


def decode(text: bytes) -> dict[str, Any]:
    """Return the members of the object; raise MalformedJson for what is not JSON, InvalidRequest for JSON we refuse."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        # Also legal JSON that it cannot keep: lone surrogates, infinite numbers, great depth.
        raise _diagnosed(text, error) from None
    if type(value) is not dict:
        raise MalformedJson("must be one JSON object")
    if _is_suspect(text, value):
        _check_exactly(text)
    return value


def check_written(text: bytes) -> None:
    """Refuse what a serializer wrote that `decode` would; it repeats no member."""
    if len(text) >= _TOO_SHORT and (_may_be_deep(text) or _may_overflow(text)):
        _check_exactly(text)


class _PayloadHolder(msgspec.Struct):
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _BulkHolder(msgspec.Struct):
    jobs: list[msgspec.Raw]


_PAYLOAD = msgspec.json.Decoder(_PayloadHolder)
_PAYLOADS = msgspec.json.Decoder(_BulkHolder)


def payload_bytes(text: bytes) -> bytes | None:
    """Return the member `payload` byte for byte, or None without one; for a text that `decode` has taken."""
    return _bytes(_PAYLOAD.decode(text))


def bulk_payload_bytes(text: bytes) -> list[bytes | None]:
    """Return the payload of each member of `jobs`; for a text that `decode` has taken and whose `jobs` is a list."""
    raws = (bytes(raw) for raw in _PAYLOADS.decode(text).jobs)
    return [payload_bytes(raw) if raw.startswith(b"{") else None for raw in raws]


def _bytes(holder: _PayloadHolder) -> bytes | None:
    return None if isinstance(holder.payload, msgspec.UnsetType) else bytes(holder.payload)


def _is_suspect(text: bytes, value: dict[str, Any]) -> bool:
    return b"\\u0000" in text or _may_be_deep(text) or _may_repeat(text, value) or _may_overflow(text)


def _may_be_deep(text: bytes) -> bool:
    return text.count(b"[") + text.count(b"{") > DEPTH_LIMIT and _depth(text)[0] > DEPTH_LIMIT


def _may_repeat(text: bytes, value: dict[str, Any]) -> bool:
    # Written anew, the value has a colon for each member that was kept; those in strings stay unless they were escaped.
    return text.count(b":") != orjson.dumps(value).count(b":") or b"\\u003a" in text or b"\\u003A" in text


def _may_overflow(text: bytes) -> bool:
    if _LONG_RUN not in text.translate(_DIGITS):
        return False
    return not all(_fits(digits) for digits in _LONG_NUMBER.findall(_without_strings(text)))


def _depth(text: bytes) -> tuple[int, int]:
    """Return the greatest depth and the one at the end, which is 0 where all brackets are closed."""
    steps = _without_strings(text).translate(_STEPS, _NO_BRACKETS)
    depths = [0, *accumulate(memoryview(steps).cast("b"))]
    return max(depths), depths[-1]


def _without_strings(text: bytes) -> bytes:
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(text.split(b'"')[::2])


def _fits(digits: bytes | str) -> bool:
    return len(digits) <= 20 and _SMALLEST <= int(digits) <= _LARGEST


def _diagnosed(text: bytes, error: orjson.JSONDecodeError) -> MalformedJson | InvalidRequest:
    malformed = MalformedJson(f"is not JSON: {error.msg} at line {error.lineno} column {error.colno}")
    deepest, at_end = _depth(text)
    if deepest > DEPTH_LIMIT:  # too deep to look closer: an object whose brackets match is taken for JSON
        is_object = at_end == 0 and text.lstrip(b" \t\r\n").startswith(b"{")
        return InvalidRequest([Breach("", _TOO_DEEP)]) if is_object else malformed
    try:
        _check_exactly(text)
    except InvalidRequest as refused:
        return refused
    except (MalformedJson, ValueError, RecursionError):
        return malformed
    return malformed


def _check_exactly(text: bytes) -> None:
    """Read again with nothing dropped, and raise InvalidRequest with every breach, up to a bound."""
    if _depth(text)[0] > DEPTH_LIMIT:
        raise InvalidRequest([Breach("", _TOO_DEEP)])
    tree = json.loads(
        text.decode(),
        object_pairs_hook=_Members,
        parse_int=_integer,
        parse_float=_float,
        parse_constant=_constant,
    )
    if not isinstance(tree, _Members):
        raise MalformedJson("must be one JSON object")
    breaches = list(islice(_breaches(tree, ""), BREACH_LIMIT))
    if breaches:
        raise InvalidRequest(breaches)


class _Members(list[tuple[str, Any]]):
    """An object with its members as written, repeated ones too."""


class _Unkeepable(str):
    """Stands for a number that no 64 bits hold; the text says why."""

    __slots__ = ()


def _integer(digits: str) -> Any:
    return 0 if _fits(digits) else _Unkeepable("is an integer over 64 bits; send it as a string")


def _float(digits: str) -> Any:
    return 0.0 if math.isfinite(float(digits)) else _Unkeepable("is not a finite number")


def _constant(word: str) -> Any:
    raise MalformedJson(f"is not JSON: {word}")


def _breaches(node: Any, pointer: str) -> Iterator[Breach]:
    if isinstance(node, _Members):
        seen: set[str] = set()
        for name, value in node:
            below = f"{pointer}/{escaped(name)}"
            if name in seen:
                yield Breach(below, "is given more than once")
            seen.add(name)
            yield from _text_breaches(name, below)
            yield from _breaches(value, below)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _breaches(value, f"{pointer}/{index}")
    elif isinstance(node, _Unkeepable):
        yield Breach(pointer, str(node))
    elif isinstance(node, str):
        yield from _text_breaches(node, pointer)


def _text_breaches(text: str, pointer: str) -> Iterator[Breach]:
    if "\x00" in text:
        yield Breach(pointer, "holds \\u0000, which Postgres cannot keep")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        yield Breach(pointer, "holds half of a surrogate pair")


def escaped(name: str) -> str:
    """Return the name as a JSON Pointer has it, and so that it can be written in an answer."""
    return name.replace("~", "~0").replace("/", "~1").encode(errors="backslashreplace").decode()
