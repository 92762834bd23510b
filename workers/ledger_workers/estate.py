"""What a dead worker process leaves behind: leases, by its board, which are closed at once.

The log decides, as always: what the board still shows but the log has closed is left alone. A job whose handler had
been started counts a crash; one that waited for a thread cannot have done any harm, and is only given back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger import commands
from ledger.job import State, fold
from ledger.log import Append, Blocked, following, readable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ledger.log import Log
    from ledger_workers.board import Note


def settle_estate(log: Log, notes: Iterable[Note], worker_id: str, max_crashes: int, *, killed: bool) -> bool:
    """Close the leases of a process that has ended; False if some must be tried again. May raise Unavailable.

    `killed` says that we ended it on purpose, so no job is to blame.
    """
    started = {note.job_id: note.started and not killed for note in notes}
    if not started:
        return True
    reason = "shutdown" if killed else "lease_expired"
    appends: list[Append] = []
    for history in readable(log, list(started))[0].values():
        job = fold(history)
        if job is None or job.state is not State.RUNNING or job.worker_id != worker_id:
            continue
        crashed = started[job.id]
        events = commands.crash(job, max_crashes) if crashed else commands.release(job, reason)
        appends.append(following(job, events, f"worker:{job.worker_id}"))
    return not any(isinstance(outcome, Blocked) for outcome in log.append(appends))
