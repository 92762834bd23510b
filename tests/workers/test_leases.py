"""Leases whose answer was lost, or could not be understood: none is left open, and none is run twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
import redis
from ledger_workers.board import Board
from ledger_workers.leases import Leases
from structlog.testing import capture_logs

from ledger import commands, ids, keys
from ledger.errors import Unavailable
from ledger.events import Kind, Priority
from ledger.message import Message
from ledger.postgres import PostgresLog
from tests.support.working import dispatch, ended, kinds, send, working

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from ledger import Ledger
    from ledger.events import Entry
    from ledger.log import Lease

WORKER = "w-1"


class LosesAnswers(PostgresLog):
    """Leases, and says once that nobody answered."""

    lost = False

    def lease(self, leases: Sequence[Lease], worker_id: str) -> list[tuple[Entry, ...]]:
        histories = super().lease(leases, worker_id)
        if not self.lost:
            self.lost = True
            raise Unavailable("the answer was lost")
        return histories


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board.create(100)
    yield board
    board.close()


def test_a_lease_whose_answer_was_lost_is_found_again(ledger: Ledger, board: Board) -> None:
    leases = Leases(LosesAnswers(ledger.database), board, WORKER)
    mine, foreign = ledger.enqueue("t"), ledger.enqueue("t")
    ledger.command(foreign, lambda job, _: commands.lease(job, "w-2", "other"))
    messages = [Message(mine, 1, 1, "t"), Message(foreign, 1, 1, "t")]
    with pytest.raises(Unavailable):
        leases.take(messages)
    assert {note.job_id for note in board.notes()} == {mine, foreign}, "what may be ours is on the board"
    assert leases.in_doubt
    (run,) = leases.recover()
    assert (run.state.id, run.state.lease_version, run.state.worker_id) == (mine, 2, WORKER)
    assert not leases.in_doubt
    assert [note.job_id for note in board.notes()] == [mine]
    assert leases.take(messages) == []
    assert kinds(ledger, mine) == [Kind.ENQUEUED, Kind.LEASED]


def test_a_worker_runs_what_it_leased_without_hearing_of_it(ledger: Ledger) -> None:
    runs: list[int] = []

    @ledger.job("once")
    def once() -> None:
        runs.append(1)

    ledger._log = LosesAnswers(ledger.database)
    with working(ledger):
        job_id = send(ledger, "once")
        assert ended(ledger, job_id).state == "succeeded"
    assert runs == [1]
    assert kinds(ledger, job_id) == [Kind.ENQUEUED, Kind.LEASED, Kind.SUCCEEDED]


def test_a_job_that_cannot_be_read_is_dead_lettered_and_its_neighbours_run(ledger: Ledger, database: str) -> None:
    @ledger.job("good")
    def good() -> str:
        return "well"

    poison = _insert(database, '{"type": "good", "metadata": 5}')
    neighbours = [ledger.enqueue("good") for _ in range(5)]
    for job_id in neighbours[:3]:
        dispatch(ledger, job_id)
    _dispatch(ledger, poison)
    for job_id in neighbours[3:]:
        dispatch(ledger, job_id)
    with capture_logs() as lines, working(ledger):
        assert [ended(ledger, job_id).result for job_id in neighbours] == ["well"] * 5
    assert _kinds(database, poison) == ["enqueued", "leased", "dead_lettered"]
    assert [line["job_id"] for line in lines if line["event"].startswith("job cannot be read")] == [str(poison)]


def _insert(database: str, data: str) -> UUID:
    job_id = ids.mint()
    with psycopg.connect(database) as connection:
        connection.execute(
            "insert into ledger.events (job_id, version, kind, queue, priority, actor, data)"
            " values (%s, 1, 'enqueued', 'default', 2, 'stranger', %s)",
            [job_id, data],
        )
    return job_id


def _kinds(database: str, job_id: UUID) -> list[str]:
    with psycopg.connect(database) as connection:
        rows = connection.execute("select kind::text from ledger.events where job_id = %s order by version", [job_id])
        return [kind for (kind,) in rows]


def _dispatch(ledger: Ledger, job_id: UUID) -> None:
    with redis.Redis.from_url(ledger.redis_url) as client:
        client.xadd(keys.stream("default", Priority.MEDIUM), Message(job_id, 1, 1, "good").fields())
