"""Arguments of commands that make things: JSON from the line, a file or stdin, and pairs of key and value."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from ledger.errors import Breach, InvalidRequest, MalformedJson
from ledger.strict_json import decode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def read_payload(text: str) -> bytes:
    """Return the payload that is meant by JSON, `@FILE`, or `-` for stdin."""
    if text == "-":
        body = sys.stdin.buffer.read()
    elif text.startswith("@"):
        body = _read_file(text[1:])
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
    made = {key: value for key, _, value in found}
    if len(made) < len(found):
        raise click.UsageError("--metadata gives a key twice")
    return made


def given_members(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given as members of a request; what is empty stays, to be refused and not to be ignored."""
    members = {name: value for name, value in options.items() if value is not None and value != ()}
    return members | ({"metadata": pairs(members["metadata"])} if "metadata" in members else {})


def _read_file(name: str) -> bytes:
    try:
        with click.open_file(name, "rb") as file:
            return file.read()
    except OSError as error:
        raise click.BadParameter(f"{name} cannot be read: {error.strerror}", param_hint="--payload") from error
