"""Noticing that the log has been taken back in time: a restored backup, a failover to a standby that lacked the tail.

Cursors go back together with the log, so nothing in Postgres can tell. Redis can: it keeps the name of the event that
was dispatched last, and when that one is gone from the log, so is what was acknowledged after it. Looked at whenever a
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

    Redis is told last: a crash before that only tells of it twice.
    """
    mark = streams.mark()
    if mark is None:
        return False
    job_id, version = mark
    if connection.execute(_IS_KNOWN, {"job_id": UUID(job_id), "version": version}).fetchone() == (True,):
        return False
    event = f"{job_id}:{version}"
    log.error("log rewound: an event that was dispatched is gone, and others with it", dispatched=event)
    audit.record(connection, actor="projector", action="log.rewound", subject="log", after={"event": event})
    streams.forget()
    streams.unmark()
    return True
