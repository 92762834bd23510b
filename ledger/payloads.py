"""A payload from Python, written as JSON: exactly the values it holds, or refused, like one that comes as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ledger import strict_json
from ledger.errors import Breach, InvalidRequest, MalformedJson
from ledger.texts import holds_null

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Hook = Callable[[Any], Any] | None


class Written(bytes):
    """JSON that `written` has made, on its way to be enqueued."""

    __slots__ = ()


def written(payload: Any, hook: Hook = None) -> bytes:
    """Return the payload as a JSON object; raise InvalidRequest for what is none, or would come back as another.

    `hook` says how to write what msgspec does not know. A `msgspec.Raw` is taken as the text it holds.
    """
    if isinstance(payload, Written):
        return bytes(payload)  # drivers take no kind of bytes but bytes
    try:
        text = b"{}" if payload is None else msgspec.json.encode(payload, enc_hook=hook)
    except (TypeError, ValueError, RecursionError) as error:
        raise _refused("", f"cannot be written as JSON: {error}") from error
    if not text.startswith(b"{"):
        raise _refused("", "must be an object")
    if holds_null(text):
        raise _refused("", "holds the character U+0000, which cannot be kept")
    if text.find(b"null") >= 0:
        _refuse_not_numbers(payload, hook)
    try:
        if isinstance(payload, msgspec.Raw):
            strict_json.decode(text)
        else:
            strict_json.check_written(text)
    except MalformedJson as error:
        raise _refused("", str(error)) from error
    except InvalidRequest as error:
        raise InvalidRequest([Breach(f"/payload{each.pointer}", each.detail) for each in error.breaches]) from error
    return text


def _refused(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest([Breach(f"/payload{pointer}", detail)])


def _refuse_not_numbers(payload: Any, hook: Hook) -> None:
    for pointer in _not_numbers(msgspec.to_builtins(payload, enc_hook=hook), ""):
        raise _refused(pointer, "is not a finite number")


def _not_numbers(value: Any, pointer: str) -> Iterator[str]:
    """Find the numbers that JSON has no words for, and that would be written as null."""
    if isinstance(value, float) and not math.isfinite(value):
        yield pointer
    elif isinstance(value, Mapping):
        for name, member in value.items():
            yield from _not_numbers(member, f"{pointer}/{strict_json.escaped(str(name))}")
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            yield from _not_numbers(member, f"{pointer}/{index}")
