"""Arguments of commands that make things: JSON from the line, a file or stdin, and pairs of key and value."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from ledger.errors import Breach, InvalidRequest, MalformedJson
from ledger.strict_json import decode

if TYPE_CHECKING:
    from collections.abc import Sequence


def read_payload(text: str) -> bytes:
    """Return the payload that is meant by JSON, `@FILE`, or `-` for stdin."""
    if text == "-":
        body = sys.stdin.buffer.read()
    elif text.startswith("@"):
        with click.open_file(text[1:], "rb") as file:
            body = file.read()
    else:
        body = text.encode()
    json_object(body, "/payload")
    return body.strip()


def json_object(text: str | bytes, pointer: str) -> dict[str, Any]:
    """Read one JSON object; breaches are told as of the member at `pointer`."""
    try:
        return decode(text.encode() if isinstance(text, str) else text)
    except MalformedJson as error:
        raise InvalidRequest([Breach(pointer, str(error))]) from error
    except InvalidRequest as error:
        raise InvalidRequest([Breach(pointer + b.pointer, b.detail) for b in error.breaches]) from error


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """Read the values of `--metadata`."""
    found = [text.partition("=") for text in texts]
    if any(not separator for _, separator, _ in found):
        raise click.UsageError("--metadata takes KEY=VALUE")
    return {key: value for key, _, value in found}
