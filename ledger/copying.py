"""Opening many new jobs by COPY: the fastest way into the log, for jobs that nobody else can be making.

A job whose id has just been minted meets no other writer, so nothing need be asked of the log, and rows only stream in.
The position is drawn by the column's default, after the transaction's xid, as for every other writer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from ledger.codec import encode
from ledger.events import KINDS, NO_TRACE, Enqueued, Event, Scheduled
from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg import Connection

    from ledger.log import Append

_COPY = statement("ledger", "copy_events")
_BLOCK = 256 * 1024
"""Bytes sent at a time: enough that Postgres writes one block while the next is being made."""
_BACKSLASH, _NEWLINE, _TAB, _RETURN = b"\\\n\t\r"
"""As numbers: to look for a byte by its number takes a tenth of looking for it as bytes."""


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
    """Spell the rows. What many jobs have in common, all but id, payload and trace, is spelled once."""
    known: dict[tuple[Any, ...], bytes] = {}
    for append in appends:
        (event,) = append.events
        request = event.request if isinstance(event, Enqueued | Scheduled) else None
        assert request is not None, "a new job's event carries the request"
        # Of objects that are shared, or unlike any other anyway, the identity will do.
        common = (
            event.__class__, append.queue, append.priority, append.actor, request.type, request.max_retries,
            request.timeout_seconds, id(request.retry), request.scheduled_at, request.expires_at, request.deadline,
            id(request.metadata), request.schedule_id, request.tick_at, request.payload_version,
        )  # fmt: skip
        middle = known.get(common)
        if middle is None:
            middle = known[common] = _middle(append, event)
        meta = b"\\N" if append.trace is NO_TRACE else _escaped(msgspec.json.encode(append.trace))
        yield b"%b\t%b\t%b\t%b\n" % (append.job_id.hex.encode(), middle, _escaped(request.payload), meta)


def _middle(append: Append, event: Event) -> bytes:
    """Return the columns from version to data."""
    data, _ = encode(event)
    kind, queue, actor = KINDS[type(event)].encode(), _escaped(append.queue.encode()), _escaped(append.actor.encode())
    return b"1\t%b\t%d\t%b\t%b\t%b" % (kind, append.priority, queue, actor, _escaped(orjson.dumps(data)))


def _escaped(text: bytes) -> bytes:
    r"""Return a value as COPY's text format spells it.

    >>> _escaped(b'{"path": "C:\\new"}')
    b'{"path": "C:\\\\new"}'
    """
    if _BACKSLASH in text:
        text = text.replace(b"\\", b"\\\\")
    if _NEWLINE in text or _TAB in text or _RETURN in text:
        text = text.replace(b"\n", b"\\n").replace(b"\t", b"\\t").replace(b"\r", b"\\r")
    return text
