"""Lives without an incident are folded a row a job: to the same rows, and no more of them set aside."""

from __future__ import annotations

from datetime import timedelta
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import psycopg
import pytest
from ledger_projections import engine
from ledger_projections.builtin import PROJECTIONS
from ledger_projections.projection import Batch

from ledger.ids import mint
from tests.support.read_models import last_position, read_log, read_tables
from tests.support.reference import read_models

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLES = [table for projection in PROJECTIONS for table in projection.tables]
REQUEST = '{"type": "a", "max_retries": 3}'
LEASE = '{"worker_id": "w", "attempt": 1, "nonce": "n", "ready_at": "2026-01-01T00:00:00Z"}'
SUCCESS = '{"duration_ms": 5}'
PLAIN = [("enqueued", REQUEST), ("leased", LEASE), ("succeeded", SUCCESS)]
ALL = {projection.name for projection in PROJECTIONS}


@pytest.fixture
def log(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def fold(log: psycopg.Connection, *batches: Batch) -> None:
    """Fold these batches into empty read models."""
    with log.transaction():
        for projection in PROJECTIONS:
            engine.reset(log, projection, "next")
        engine.enter(log, "ledger_next")
        for batch in batches:
            engine.apply(log, PROJECTIONS, "next", batch)


def write(log: psycopg.Connection, events: list[tuple[str, str]], actor: str = "worker:w") -> None:
    job_id = mint()
    for version, (kind, data) in enumerate(events, 1):
        log.execute(
            "insert into ledger.events (job_id, version, kind, queue, priority, actor, data)"
            " values (%s, %s, %s, 'q', 2, %s, %s)",
            [job_id, version, kind, actor, data],
        )


def test_they_lead_to_the_same_rows_wherever_the_log_is_cut(log, lives):
    deadline = lives.log.clock.now() + timedelta(hours=1)
    plain = lives.enqueue(correlation_id="order-7", expires_at=deadline, schedule_id=mint())
    again = lives.enqueue(deadline=deadline)
    waiting = lives.enqueue(metadata={"about": "deadline"})
    lives.lease(again)
    lives.fail(again)
    lives.lease(plain)
    lives.make_due(again)
    lives.lease(again, "w2")
    lives.succeed(plain)
    lives.succeed(again)
    running = lives.enqueue(metadata={"why": "x" * 3000})
    lives.lease(running)
    end = last_position(log)
    expected = read_models(read_log(log))
    assert {row["job_id"] for row in expected["jobs"]} == {plain, again, waiting, running}
    for cuts in (*combinations(range(1, end), 2), range(end)):
        fold(log, *(Batch(low, high) for low, high in pairwise((0, *cuts, end))))
        assert read_tables(log, TABLES, "ledger_next") == {name: expected[name] for name in TABLES}, cuts
    assert log.execute("select count(*) from ledger.parked").fetchone() == (0,)


@pytest.mark.parametrize(("lease", "said"), [(LEASE, True), (LEASE.replace("ready_at", "at"), False)])
@pytest.mark.parametrize("apart", [False, True])
def test_a_lease_says_since_when_its_job_was_ready_or_the_log_does(log, lease, said, apart):
    write(log, [("enqueued", REQUEST), ("leased", lease), ("succeeded", SUCCESS)])
    fold(log, Batch(0, 1), Batch(1, 3)) if apart else fold(log, Batch(0, 3))
    by_lease, by_log = log.execute(
        "select a.created_at = '2026-01-01T00:00:00Z', a.created_at = e.at"
        " from ledger_next.attempts a join ledger.events e on e.version = 1"
    ).fetchone()
    assert (by_lease, by_log) == (said and apart, not (said and apart))


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    ("place", "data", "unable"),
    [
        (0, '{"type": "a", "max_retries": 3, "expires_at": "soon"}', {"jobs"}),
        (0, '{"type": "a", "max_retries": 3, "schedule_id": "mine"}', {"jobs"}),
        (0, '{"max_retries": 3}', {"jobs"}),
        (0, r'{"type": "a", "max_retries": 3, "tag": "\u0000"}', {"jobs"}),
        (2, '{"duration_ms": "long"}', ALL),
        (2, r'{"duration_ms": 5, "note": "\u0000"}', ALL),
    ],
)
def test_what_cannot_be_read_is_set_aside_where_it_is_read(log, place, data, unable, apart):
    write(log, PLAIN)
    write(log, [(kind, data if place == n else usual) for n, (kind, usual) in enumerate(PLAIN)])
    write(log, PLAIN)
    end = last_position(log)
    fold(log, *(Batch(at, at + 1) for at in range(end))) if apart else fold(log, Batch(0, end))
    found = log.execute("select split_part(projection, '@', 1), position from ledger.parked").fetchall()
    assert dict(found) == dict.fromkeys(unable, end - 5 + place)
    counted = dict(log.execute("select state, count from ledger_next.queue_counts where count > 0"))
    jobs, attempts = (
        log.execute(f"select count(*) from ledger_next.{table} where state = 'succeeded'").fetchone()[0]
        for table in ("jobs", "attempts")
    )
    assert (jobs, attempts) == (3 - ("jobs" in unable), 3 - ("attempts" in unable))
    assert counted == ({"running": 1} if "queue_stats" in unable else {})


@pytest.mark.parametrize(
    "lease",
    [
        r'{"worker_id": "w", "attempt": 1, "ready_at": "2026-01-01T00:00:00Z", "nonce": "\u0000"}',
        '{"worker_id": "w", "attempt": 1, "ready_at": "then"}',
        '{"worker_id": "w", "attempt": "first"}',
    ],
)
def test_of_a_first_lease_right_after_its_birth_nothing_is_read(log, lease):
    write(log, [("enqueued", REQUEST), ("leased", lease), ("succeeded", SUCCESS)])
    fold(log, Batch(0, 3))
    assert log.execute("select count(*) from ledger.parked").fetchone() == (0,)
    assert log.execute("select attempt, worker_id, state from ledger_next.attempts").fetchall() == [
        (1, "w", "succeeded")
    ]
