"""Which statements are run for every job, turn, request or look at the clock, and by which index each finds its rows.

Every other statement is named here as well, with the reason why its plan is nobody's worry: whoever adds one decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
from ledger_projections.projection import LOWEST

from ledger import ids

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
KEY, POSITION = "_pkey", "_position_idx"
"""How the names of the log's indexes end, in every partition."""


@dataclass(frozen=True)
class Hot:
    package: str
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    by: frozenset[str] = frozenset()
    """Ends of the names of the indexes by which it reads the log and the read models; these, and no others."""
    settings: tuple[str, ...] = ()
    """What its transaction has set before."""

    def __str__(self) -> str:
        return f"{self.package}/{self.name}"


def hot(package: str, name: str, *by: str, settings: tuple[str, ...] = (), **parameters: Any) -> Hot:
    return Hot(package, name, parameters, frozenset(by), settings)


def text(value: object) -> str:
    return orjson.dumps(value).decode()


TURN = ("set local enable_seqscan = off", "set local jit = off")
"""As `take_turn` and `dispatch/begin` have it."""
PAGE = {"after_at": LONG_AGO, "after_id": LOWEST, "limit": 100}


def statements(job: UUID) -> tuple[Hot, ...]:
    """Return the hot statements, asked about a job that has died in its first run."""
    death = {"follows": False, "job_id": job, "version": 5, "kind": "discarded", "queue": "q", "priority": 1}
    death |= {"actor": "test", "data": {}, "after_kind": "dead_lettered"}
    worker = {"id": "w", "hostname": "h", "pid": 1, "version": "1", "queues": ["q"], "concurrency": 1, "running": 0}
    note = {"job_id": job, "lease_version": 2, "number": 1, "age": 0.1, "progress": 0.5, "message": "half"}
    born = {"job_id": ids.mint(), "kind": "enqueued", "queue": "q", "priority": 2, "actor": "test", "data": "{}"}
    tick = {"id": job, "version": 1, "last_run_at": None, "last_run_status": "x", "last_job_id": None}
    queue = {"queue": "q1", "window": timedelta(hours=1)}
    silence = timedelta(seconds=30)
    return (
        hot("ledger", "open_job", **born, body=None, meta=None),
        hot("ledger", "open_jobs", rows=text([born | {"data": {}}])),
        hot("ledger", "append_events", KEY, rows=text([death]), lock_timeout="1s", first=job, last=job),
        hot("ledger", "append_event", KEY, **born | {"job_id": job, "kind": "discarded"}, body=None, meta=None,
            version=5, after_kind="dead_lettered", nonce=None, lock_timeout="1s"),
        hot("ledger", "lease_job", KEY, job_id=job, nonce="n", worker_id="w", lock_timeout="1s"),
        hot("ledger", "lease_jobs", KEY, leases=text([{"job_id": job, "version": 1, "nonce": "n"}]), worker_id="w",
            lock_timeout="1s", first=job, last=job),
        hot("ledger", "select_histories", KEY, job_ids=text([job])),
        hot("ledger", "select_idempotency_keys", keys=["k"]),
        hot("ledger", "claim_idempotency_keys", keys=["k"], job_ids=[job], fingerprints=[b"f"], ttl=1.0),
        hot("ledger", "notes/write", notes=text([note])),
        hot("ledger", "notes/select", KEY, job_id=job),
        hot("ledger_projections", "read_window", POSITION, settings=TURN, high=23_000, limit=100),
        hot("ledger_projections", "read_late", POSITION, settings=TURN, holes="{[5,6),[9,12)}", limit=100),
        hot("ledger_projections", "dispatch/glance", POSITION, settings=TURN, high=23_000, limit=50),
        hot("ledger_projections", "dispatch/read", POSITION, KEY, settings=TURN, high=23_000, holes="{[5,6)}",
            limit=100, blind=False),
        hot("ledger_projections", "dispatch/select_newest", POSITION),
        hot("ledger_projections", "dispatch/select_is_known", KEY, job_id=job, version=1, at=1, event="e"),
        hot("ledger_projections", "dispatch/select_oldest_ready", "jobs_ready", KEY, sample=100, age="3 seconds"),
        hot("ledger_projections", "queries/select_page_histories", KEY, wanted=text([{"job_id": job, "version": 4}]),
            with_payload=True),
        hot("ledger_projections", "queries/select_requests", KEY, job_ids=text([job])),
        hot("ledger_projections", "queries/select_queue_infos", "queue_minutes_pkey", "jobs_ready", queue=None,
            silent_after=silence),
        hot("ledger_projections", "queries/select_queue_window", "queue_minutes_pkey", **queue),
        hot("ledger_projections", "queries/select_queue_histograms", "queue_histograms_pkey", **queue),
        hot("ledger_projections", "queries/select_stats", "attempt_minutes_pkey"),
        hot("ledger_projections", "queries/select_lag", POSITION, names=["jobs"]),
        hot("ledger_projections", "why/select_line", "jobs_ready", queue="q1", priority=2, ready_at=LONG_AGO,
            job_id=job, before=["q2"], most=1000),
        hot("ledger_scheduler", "select_due", "jobs_due", **PAGE),
        hot("ledger_scheduler", "select_next_due", "jobs_due"),
        hot("ledger_scheduler", "select_expired", "jobs_expiring", **PAGE),
        hot("ledger_scheduler", "select_outlook", "jobs_due", "jobs_expiring"),
        hot("ledger_scheduler", "select_silent_workers", "jobs_running", timeout=silence),
        hot("ledger_scheduler", "select_leases", "jobs_running", worker_id="w7", after_id=LOWEST, limit=100),
        hot("ledger_scheduler", "bury_workers", "jobs_running", kept=silence),
        hot("ledger_scheduler", "select_due_schedules", **PAGE),
        hot("ledger_scheduler", "select_next_tick"),
        hot("ledger_scheduler", "select_unended", "job_births_by_schedule", "jobs_pkey", schedules=[job], limit=10),
        hot("ledger_scheduler", "advance_schedules", rows=text([tick])),
        hot("ledger_scheduler", "delete_idempotency_keys", ttl=silence, limit=1000),
        hot("ledger_workers", "select_ready", "jobs_ready", queues=["q1", "q2"], types=["email.send"], tried=[job],
            versions=[1], wanted=10),
        hot("ledger_workers", "select_void", KEY, leases=text([{"job_id": job, "version": 2}])),
        hot("ledger_workers", "beat", workers=text([worker | {"stopping": False}])),
        hot("ledger_workers", "leave", id="w"),
    )  # fmt: skip


NOT_HOT: dict[str, str] = {
    "batch": "tested with the folds that read it",
    "*/fold*": "tested with its projection, on batches",
    "*/create": "makes tables",
    "*/index": "makes indexes",
    "verify/*": "reads everything there is, on request",
    "doctor/*": "on request",
    "readiness/*": "reads the catalogue",
    "retention/*": "once in a while, a week at a time",
    "rebuild/*": "once a rebuild or share; what it reads by has a test of its own",
    "api_keys/*": "a small table, read as a whole",
    "schedules/*": "a small table, on request",
    "pauses/*": "a small table, read as a whole",
    "metrics/*": "reads the cursors, a row a projection",
    "why/select_circumstances": "on request, and reads small tables only",
    "queries/select_workers": "a small table",
    "select_now": "reads nothing",
    "copy_events": "a COPY has no plan",
    "append_audit": "inserts one row",
    "limit_lock_wait": "reads nothing",
    "begin_turn": "reads nothing",
    "enter_schema": "reads nothing",
    "lock_projection": "reads nothing",
    "select_drawn": "reads a sequence",
    "select_xid": "reads nothing",
    "take_turn": "reads a few rows of the cursors",
    "move_cursor": "changes a few rows of the cursors",
    "create_cursor": "once a projection",
    "select_stand": "reads a few rows of the cursors",
    "select_standing": "reads one row of the cursors",
    "select_parked": "a table with nothing in it, as a rule",
    "park_job": "an event that cannot be folded is rare",
    "clear_parked": "once a rebuild",
    "promote_parked": "once a rebuild",
    "name_tables": "once a rebuild",
    "drop_tables": "once a rebuild",
    "dispatch/begin": "reads nothing",
    "dispatch/be_patient": "reads nothing",
    "dispatch/start": "once",
    "dispatch/follow_jobs": "changes one row of the cursors, once a refill",
    "dispatch/select_ready": "a refill reads all that is ready",
    "make_partitions": "once a day",
    "ensure_partition": "once a partition",
    "select_has_jobs": "reads the catalogue",
}
