"""Opening many new jobs by COPY: the fastest way into the log, for jobs that nobody else can be making.

A job whose id has just been minted meets no other writer, so nothing need be asked of the log, and rows only stream in.
The position is drawn by the column's default, after the transaction's xid, as for every other writer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from ledger.codec import encode
from ledger.events import KINDS, NO_TRACE
from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg import Connection

    from ledger.log import Append

_COPY = statement("ledger", "copy_events")
_BLOCK = 256 * 1024
"""Bytes sent at a time: enough that Postgres writes one block while the next is being made."""


def copy_on(connection: Connection[Any], appends: Sequence[Append]) -> None:
    """Write the first events of jobs that are new for certain, all or none, in the connection's transaction."""
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        block = bytearray()
        for line in _lines(appends):
            block += line
            if len(block) > _BLOCK:
                copy.write(bytes(block))
                block.clear()
        copy.write(bytes(block))


def _lines(appends: Sequence[Append]) -> Iterator[bytes]:
    for append in appends:
        meta = b"\\N" if append.trace is NO_TRACE else _escaped(msgspec.json.encode(append.trace))
        places = b"%d\t%b\t%b" % (append.priority, _escaped(append.queue.encode()), _escaped(append.actor.encode()))
        for version, event in enumerate(append.events, start=1):
            data, body = encode(event)
            yield b"%b\t%d\t%b\t%b\t%b\t%b\t%b\n" % (
                append.job_id.hex.encode(),
                version,
                KINDS[type(event)].encode(),
                places,
                _escaped(orjson.dumps(data)),
                b"\\N" if body is None else _escaped(body),
                meta,
            )


def _escaped(text: bytes) -> bytes:
    r"""Return a value as COPY's text format spells it.

    >>> _escaped(b'{"path": "C:\\new"}')
    b'{"path": "C:\\\\new"}'
    """
    if b"\\" in text:
        text = text.replace(b"\\", b"\\\\")
    if b"\n" in text or b"\t" in text or b"\r" in text:
        text = text.replace(b"\n", b"\\n").replace(b"\t", b"\\t").replace(b"\r", b"\\r")
    return text
