"""A big log: how fast read models are rebuilt from it, how fast it is read, and what it costs the jobs of today.

The log is filled in Postgres, by copying the history of one job that was really run under as many new ids as it takes;
they are born within the last day, so that one partition holds them and the jobs of today as well.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg

from ledger import Ledger, dev
from ledger.cli_output import Failure
from ledger.runtime.statements import statement
from ops.bench import usage
from ops.bench.figures import percentile
from ops.bench.measures import growth, web
from ops.bench.session import pause
from ops.bench.venvs import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from ops.bench.session import Session
    from ops.bench.sizes import Sizes

EVENTS_A_JOB = 3
SHARE = 100_000
"""Jobs a statement."""
_MULTIPLY = statement("ops.bench", "multiply_job")
_RESERVE = statement("ops.bench", "reserve_positions")
_SAMPLE = statement("ops.bench", "sample_jobs")
LISTS = ("/jobs?limit=50", "/jobs?limit=50&state=succeeded", "/jobs?limit=50&type=bench.noop",
         "/jobs?limit=100&queue=default", "/executions?limit=50")  # fmt: skip
STATISTICS = ("/stats", "/queues", "/queues/default/stats")


def measure(session: Session, sizes: Sizes) -> dict[str, Any]:
    fresh = growth.drain(session, sizes.drained)
    session.crew.stop("scheduler", "projector")
    figures = fill(session, sizes)
    # Once unmeasured: while the projector stood still the live read models have fallen behind, and to compare with them
    # they must catch up.
    _rebuild(session)
    figures |= _rebuild(session) | _swept(session)
    session.servers.forget()  # or the dispatcher would look through all these jobs of the past
    session.start_service("projector")
    session.start_service("scheduler")
    session.await_caught_up()
    web.await_ready(session)
    figures |= _read(session, sizes)
    return figures | growth.told("old_events", fresh, growth.drain(session, sizes.drained))


def fill(session: Session, sizes: Sizes) -> dict[str, float]:
    """Copy the history of a job that has succeeded, until there are as many old events as wanted."""
    jobs, begun = max(sizes.events // EVENTS_A_JOB, 1), time.monotonic()
    with psycopg.connect(session.servers.database_url, autocommit=True) as connection:
        (position,) = connection.execute(_RESERVE, {"count": jobs * EVENTS_A_JOB}).fetchone() or (0,)

        def share(first: int) -> None:
            with psycopg.connect(session.servers.database_url, autocommit=True) as own:
                bounds = {"first": first, "last": min(first + SHARE, jobs) - 1}
                own.execute(_MULTIPLY, {**bounds, "jobs": jobs, "position": position})

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(share, range(0, jobs, SHARE)))
        connection.execute("analyze ledger.events")
    return {"log_events": jobs * EVENTS_A_JOB, "log_jobs": jobs, "log_fill_s": time.monotonic() - begun}


def _swept(session: Session) -> dict[str, float]:
    """Let vacuum do at once what autovacuum would begin at a moment of its own, in the midst of a measure."""
    begun = time.monotonic()
    with psycopg.connect(session.servers.database_url, autocommit=True) as connection:
        connection.execute("vacuum (analyze)")
    return {"log_vacuum_s": time.monotonic() - begun}


def _rebuild(session: Session) -> dict[str, float]:
    """Rebuild everything as an operator would, start of the process included, and watch its memory."""
    with psycopg.connect(session.servers.database_url, autocommit=True) as connection:
        row = connection.execute("select count(*) from ledger.events").fetchone()
    assert row is not None
    begun = time.monotonic()
    child = subprocess.Popen(dev.command("rebuild-projections"), cwd=ROOT, env=session.environment,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip
    sizes: list[int] = []
    while child.poll() is None:
        sizes.append(max(usage.resident(child.pid), default=0))
        pause(0.1)
    if child.returncode:
        raise Failure(f"the rebuild failed: {child.stderr.read().strip() if child.stderr else child.returncode}")
    seconds = time.monotonic() - begun
    return {
        "rebuild_events_per_s": row[0] / seconds,
        "rebuild_s": seconds,
        "rebuild_peak_mb": max(sizes) / 1e6,
        "rebuild_half_way_peak_mb": max(sizes[: len(sizes) // 2 + 1]) / 1e6,
    }


def _read(session: Session, sizes: Sizes) -> dict[str, float]:
    samples = max(sizes.samples, 50)
    with psycopg.connect(session.servers.database_url, autocommit=True) as connection:
        share = min(100.0, 100 * 10 * samples / max(sizes.events, 1))
        found = [row[0] for row in connection.execute(_SAMPLE, {"percent": share, "jobs": samples})]
    ledger = Ledger(database_url=session.servers.database_url, redis_url=session.servers.redis_url)
    try:
        figures = _timed("history", [_history(ledger, job_id) for job_id in found])
    finally:
        ledger.close()
    connection = http.client.HTTPConnection("127.0.0.1", web.PORT, timeout=60)
    for name, paths in (("list", LISTS), ("stats", STATISTICS)):
        worst: dict[str, float] = {}
        for path in paths:
            for figure, value in _timed(name, [_get(connection, path)] * max(samples // 5, 20)).items():
                worst[figure] = max(worst.get(figure, 0.0), value)
        figures |= worst
    return figures


def _timed(name: str, actions: Sequence[Callable[[], object]]) -> dict[str, float]:
    """Do each, and return how long they took; the first few warm connections and caches up."""
    waits: list[float] = []
    for action in actions:
        begun = time.monotonic()
        action()
        waits.append((time.monotonic() - begun) * 1000)
    waits = waits[min(5, len(waits) - 1) :]
    return {f"{name}_p50_ms": percentile(waits, 0.5), f"{name}_p99_ms": percentile(waits, 0.99)}


def _history(ledger: Ledger, job_id: UUID) -> Callable[[], object]:
    return lambda: ledger.history(job_id)


def _get(connection: http.client.HTTPConnection, path: str) -> Callable[[], object]:
    def get() -> bytes:
        connection.request("GET", f"/api/v1{path}")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise Failure(f"GET {path} answers {answer.status}: {body[:200]!r}")
        return body

    return get
