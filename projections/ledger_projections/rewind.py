"""Noticing that the log has been taken back in time: a restored backup, a failover to a standby that lacked the tail.

Cursors go back together with the log, so nothing in Postgres can tell. Redis can: it keeps the mark of the newest event
that the dispatcher has read, and when that one is gone from the log, so is what was acknowledged after it. The mark has
the event's time in it, for the scheduler may have put the same step of the same job there again. Looked at whenever a
dispatcher has connected to Postgres, before it dispatches anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from ledger import audit
from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from ledger_projections.projection import AnyConnection
    from ledger_projections.redis_streams import DispatchStreams

log = structlog.get_logger()

_IS_KNOWN = statement("ledger_projections", "dispatch/select_is_known")


def notice(connection: AnyConnection, streams: DispatchStreams) -> bool:
    """Say whether the log was rewound; then it is on record, and the streams are to be filled anew.

    What two dispatchers notice, or one that crashed while it told, is told once.
    """
    mark = streams.mark()
    if mark is None:
        return False
    job_id, version, at = mark
    event = f"{job_id}:{version}"
    place = {"job_id": UUID(job_id), "version": version, "at": at, "event": event}
    if connection.execute(_IS_KNOWN, place).fetchone() == (True,):
        return False
    log.error("log rewound: an event that was read is gone, and others with it", lost=event)
    streams.forget()
    audit.record(connection, actor="projector", action="log.rewound", subject="log", after={"event": event})
    streams.unmark()
    return True
