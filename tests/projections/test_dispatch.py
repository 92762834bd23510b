"""Dispatch: what became ready in the log has a message in Redis, whoever dies, and whatever Redis loses."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import redis
from ledger_projections import dispatch_repair
from ledger_projections.dispatch import Dispatcher

from ledger import keys
from ledger.errors import Unavailable
from ledger.events import Enqueued, Priority, Request
from ledger.ids import mint
from ledger.log import Append
from ledger.message import Message
from ledger.postgres import PostgresLog, append_on
from ledger.runtime import failpoints
from ledger.runtime.database import Database
from ledger.runtime.prepared import Question
from tests.support.dispatching import dispatched, dispatching, drain, enqueue, hurry, messages
from tests.support.lives import Lives, fold_all
from tests.support.servers import connect
from tests.support.working import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.runtime.embedded import EmbeddedRedis

STREAM = keys.stream("mail", Priority.MEDIUM)


@pytest.fixture
def logs(database: str) -> Iterator[Database]:
    pool = Database(database)
    yield pool
    pool.close()


@pytest.fixture
def lives(logs: Database) -> Lives:
    return Lives(logs)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


@pytest.fixture
def dispatcher(database: str, redis_url: str) -> Iterator[Dispatcher]:
    with dispatching(database, redis_url) as made:
        yield made


def test_d61_a_ready_job_gets_one_message_on_the_stream_of_its_queue_and_priority(
    dispatcher: Dispatcher, lives: Lives, redis_url: str
) -> None:
    job = lives.enqueue("report.build", queue="reports", priority=Priority.HIGH)
    drain(dispatcher)
    drain(dispatcher)
    assert messages(redis_url, "reports", Priority.HIGH) == [Message(job, 1, 1, "report.build")]


def test_somebodys_lock_on_the_read_model_holds_up_no_dispatch(
    dispatcher: Dispatcher, lives: Lives, logs: Database, redis_url: str
) -> None:
    lives.enqueue()
    fold_all(logs)
    drain(dispatcher)
    with ThreadPoolExecutor() as thread, logs.connection() as holder, holder.transaction():
        holder.execute("lock table ledger_read.jobs")
        for count in (2, 3):
            lives.enqueue()
            dispatcher.look_at_once()
            thread.submit(drain, dispatcher).result(30)
            assert len(dispatched(redis_url)) == count


def test_messages_lie_in_the_order_in_which_the_jobs_became_ready(
    dispatcher: Dispatcher, lives: Lives, redis_url: str
) -> None:
    jobs = enqueue(lives.log, 10)
    drain(dispatcher)
    jobs += enqueue(lives.log, 10)
    drain(dispatcher)
    assert dispatched(redis_url) == jobs


def test_a_message_says_which_run_it_is_for(dispatcher: Dispatcher, lives: Lives, redis_url: str) -> None:
    job = lives.enqueue()
    lives.lease(job)
    lives.fail(job)
    lives.make_due(job)
    drain(dispatcher)
    assert messages(redis_url) == [Message(job, 5, 2, "email.send")]


def test_a_job_that_has_moved_on_gets_no_message(dispatcher: Dispatcher, lives: Lives, redis_url: str) -> None:
    leased, cancelled, scheduled = lives.enqueue(), lives.enqueue(), lives.enqueue(delay=timedelta(hours=1))
    lives.lease(leased)
    lives.cancel(cancelled)
    drain(dispatcher)
    assert dispatched(redis_url) == []
    lives.make_due(scheduled)
    drain(dispatcher)
    assert dispatched(redis_url) == [scheduled]


def test_a_batch_smaller_than_the_backlog_is_followed_at_once_by_the_next(
    database: str, redis_url: str, lives: Lives
) -> None:
    jobs = enqueue(lives.log, 25)
    with dispatching(database, redis_url, batch_size=10):
        assert dispatched(redis_url) == jobs


def test_what_needs_no_message_is_read_in_larger_batches_until_something_does(
    database: str, redis_url: str, lives: Lives
) -> None:
    with dispatching(database, redis_url, batch_size=10) as dispatcher:
        for _ in range(35):
            lives.run(lives.enqueue())  # three events each, of which none is still to be dispatched
        assert _turns(dispatcher) == [10, 20, 40, 35]
        jobs = enqueue(lives.log, 45)
        assert _turns(dispatcher) == [40, 5]
        enqueue(lives.log, 12)
        assert _turns(dispatcher) == [10, 2]
        assert dispatched(redis_url)[: len(jobs)] == jobs


def _turns(dispatcher: Dispatcher) -> list[int]:
    """Turn it until there is nothing left to do, and return how many events each turn has read."""
    read: list[int] = []
    for _ in range(100):
        before = _high(dispatcher)
        dispatcher.run_once()
        if _high(dispatcher) == before:
            return read
        read.append(_high(dispatcher) - before)
    raise AssertionError("still busy")


def _high(dispatcher: Dispatcher) -> int:
    assert dispatcher._cursor is not None
    return dispatcher._cursor.high


def test_an_event_that_commits_late_is_dispatched_late_and_not_lost(
    dispatcher: Dispatcher, lives: Lives, database: str, redis_url: str
) -> None:
    with connect(database) as slow, slow.transaction():
        slow.execute(
            "insert into ledger.events (job_id, version, kind, queue, priority, actor, data)"
            " values (ledger.lowest_id(now()), 1, 'enqueued', 'mail', 2, 'client:test', '{\"type\": \"late\"}')"
        )
        jobs = enqueue(lives.log, 3)
        drain(dispatcher)
        assert dispatched(redis_url) == jobs
    drain(dispatcher)
    assert [message.type for message in messages(redis_url)] == ["email.send"] * 3 + ["late"]


def test_every_stream_has_its_group_and_the_group_sees_the_first_message(
    dispatcher: Dispatcher, lives: Lives, client: redis.Redis
) -> None:
    enqueue(lives.log, 2)
    drain(dispatcher)
    assert len(client.xreadgroup(keys.GROUP, "w1", {STREAM: ">"}, count=10)[0][1]) == 2


def test_dying_between_adding_and_moving_the_cursor_only_sends_messages_twice(
    dispatcher: Dispatcher, lives: Lives, redis_url: str
) -> None:
    class Death(BaseException):
        pass

    def die() -> None:
        raise Death

    jobs = enqueue(lives.log, 3)
    with failpoints.armed("dispatch_after_xadd", die), pytest.raises(Death):
        drain(dispatcher)
    assert dispatched(redis_url) == jobs
    drain(dispatcher)
    assert dispatched(redis_url) == jobs * 2


def test_a_killed_dispatcher_leaves_its_work_to_the_next(database: str, redis_url: str, lives: Lives) -> None:
    jobs = enqueue(lives.log, 3)
    program = (
        "import sys; from ledger_projections.dispatch import Dispatcher; from ledger.runtime.database import Database\n"
        "dispatcher = Dispatcher(Database(sys.argv[1]), sys.argv[2]); dispatcher.prepare()\n"
        "while True: dispatcher.run_once()"
    )
    environment = os.environ | {failpoints.VARIABLE: "dispatch_after_xadd"}
    killed = subprocess.run(
        [sys.executable, "-c", program, database, redis_url],
        env=environment, timeout=60, check=False, capture_output=True,
    )  # fmt: skip
    assert killed.returncode == -9, killed.stderr
    assert dispatched(redis_url) == jobs
    with dispatching(database, redis_url):
        assert dispatched(redis_url) == jobs * 2


def test_of_several_dispatchers_one_is_active(database: str, redis_url: str, lives: Lives) -> None:
    with dispatching(database, redis_url) as one, dispatching(database, redis_url) as other:
        jobs = [job for _ in range(20) for job in (*enqueue(lives.log, 5), *_turn_both(one, other))]
        drain(one)
        drain(other)
        assert set(dispatched(redis_url)) == set(jobs)
        assert one.dispatched + other.dispatched == 100


def test_a_dispatcher_that_finds_the_turn_taken_adds_nothing(database: str, redis_url: str, lives: Lives) -> None:
    with dispatching(database, redis_url) as standby, dispatching(database, redis_url) as active:
        entered, leave = threading.Event(), threading.Event()

        def wait() -> None:
            entered.set()
            assert leave.wait(30)

        enqueue(lives.log)
        drain(active)
        jobs = dispatched(redis_url)
        # The active one holds the turn while it waits here: it was not the last to move the cursor.
        standby._is_active = active._is_active = False
        jobs += enqueue(lives.log, 2)
        with failpoints.armed("dispatch_after_xadd", wait):
            thread = threading.Thread(target=drain, args=(active,))
            thread.start()
            assert entered.wait(30)
            assert not standby.run_once()
            leave.set()
            thread.join(30)
        drain(standby)
        assert dispatched(redis_url) == jobs


def test_a_dispatcher_that_was_overtaken_sends_one_batch_twice_at_most(
    database: str, redis_url: str, lives: Lives
) -> None:
    with dispatching(database, redis_url) as late, dispatching(database, redis_url) as quick:
        jobs = enqueue(lives.log)
        drain(late)  # from now on it believes to be the active one
        jobs += enqueue(lives.log)
        drain(quick)
        jobs += enqueue(lives.log)
        drain(quick)
        for _ in range(3):
            drain(late)
        assert set(dispatched(redis_url)) == set(jobs)
        assert len(dispatched(redis_url)) <= len(jobs) + 2


def test_a_stream_that_was_deleted_is_noticed_by_the_next_message_and_filled_again(
    dispatcher: Dispatcher, lives: Lives, logs: Database, client: redis.Redis, redis_url: str
) -> None:
    jobs = enqueue(lives.log, 5)
    drain(dispatcher)
    fold_all(logs)
    client.delete(STREAM)
    jobs += enqueue(lives.log)
    drain(dispatcher)
    assert set(dispatched(redis_url)) == set(jobs)
    assert client.xinfo_groups(STREAM)[0]["name"] == keys.GROUP.encode()


def test_d24_a_message_that_is_gone_is_added_again(
    dispatcher: Dispatcher, lives: Lives, logs: Database, client: redis.Redis, redis_url: str, monkeypatch
) -> None:
    monkeypatch.setattr(dispatch_repair, "AGE", "0 seconds")
    jobs = enqueue(lives.log, 5)
    drain(dispatcher)
    fold_all(logs)
    entry, _ = client.xrange(STREAM)[2]
    client.xdel(STREAM, entry)
    hurry(dispatcher)
    assert sorted(dispatched(redis_url)) == sorted(jobs)
    assert dispatcher.healed == 1
    hurry(dispatcher)
    assert dispatcher.healed == 1


def test_a_message_added_again_at_the_end_of_a_long_stream_is_found_there(
    dispatcher: Dispatcher, lives: Lives, logs: Database, client: redis.Redis, redis_url: str, monkeypatch
) -> None:
    monkeypatch.setattr(dispatch_repair, "AGE", "0 seconds")
    jobs = enqueue(lives.log, 2500)
    drain(dispatcher)
    fold_all(logs)
    entry, _ = client.xrange(STREAM, count=1)[0]
    client.xdel(STREAM, entry)
    for _ in range(3):
        hurry(dispatcher)
    assert dispatcher.healed == 1
    assert dispatched(redis_url) == [*jobs[1:], jobs[0]]
    client.xdel(STREAM, client.xrevrange(STREAM, count=1)[0][0])
    hurry(dispatcher)
    assert dispatcher.healed == 2


def test_a_delivered_message_counts_as_there(
    dispatcher: Dispatcher, lives: Lives, logs: Database, client: redis.Redis, redis_url: str, monkeypatch
) -> None:
    monkeypatch.setattr(dispatch_repair, "AGE", "0 seconds")
    enqueue(lives.log, 3)
    drain(dispatcher)
    fold_all(logs)
    client.xreadgroup(keys.GROUP, "w1", {STREAM: ">"}, count=10)
    hurry(dispatcher)
    assert dispatcher.healed == 0
    assert len(dispatched(redis_url)) == 3


def test_a_job_the_read_model_still_calls_ready_is_not_added_again(
    dispatcher: Dispatcher, lives: Lives, logs: Database, client: redis.Redis, redis_url: str, monkeypatch
) -> None:
    monkeypatch.setattr(dispatch_repair, "AGE", "0 seconds")
    job = lives.enqueue()
    drain(dispatcher)
    fold_all(logs)
    lives.run(job)
    client.xtrim(STREAM, maxlen=0, approximate=False)
    hurry(dispatcher)
    client.flushdb()
    hurry(dispatcher)
    assert dispatched(redis_url) == []


def test_a_refill_adds_only_what_is_absent(
    dispatcher: Dispatcher, lives: Lives, logs: Database, client: redis.Redis, redis_url: str
) -> None:
    jobs = enqueue(lives.log, 5)
    drain(dispatcher)
    fold_all(logs)
    client.delete(keys.MARKER)
    client.xtrim(STREAM, maxlen=3, approximate=False)
    hurry(dispatcher)
    assert dispatcher.refills == 2
    assert dispatched(redis_url) == [*jobs[2:], *jobs[:2]]


def test_a_redis_that_was_emptied_while_it_was_filled_is_filled_again(
    dispatcher: Dispatcher, lives: Lives, logs: Database, client: redis.Redis, redis_url: str, monkeypatch
) -> None:
    jobs = enqueue(lives.log, 3)
    drain(dispatcher)
    fold_all(logs)
    client.flushdb()
    end, emptied = dispatcher._streams.end_refill, []

    def empty_first() -> None:
        if not emptied:
            emptied.append(client.flushdb())
        end()

    monkeypatch.setattr(dispatcher._streams, "end_refill", empty_first)
    hurry(dispatcher)
    assert sorted(dispatched(redis_url)) == sorted(jobs)
    assert emptied


def test_an_evicting_redis_is_refused_at_the_start_and_later(
    private_redis: EmbeddedRedis, database: str, logs: Database
) -> None:
    with redis.Redis.from_url(private_redis.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        dispatcher = Dispatcher(logs, private_redis.url)
        with pytest.raises(Unavailable, match="set maxmemory-policy to noeviction"):
            dispatcher.prepare()
        with pytest.raises(Unavailable, match="set maxmemory-policy to noeviction"):
            dispatcher.run_once()
        client.config_set("maxmemory-policy", "noeviction")
        drain(dispatcher)
        dispatcher.close()


def test_d35_an_idle_turn_asks_postgres_once_and_redis_not_at_all(
    dispatcher: Dispatcher, lives: Lives, client: redis.Redis, monkeypatch
) -> None:
    enqueue(lives.log)
    drain(dispatcher)
    asked = []
    connection = dispatcher._kept
    assert connection is not None
    execute = connection.execute
    monkeypatch.setattr(connection, "execute", lambda *a, **k: (asked.append(a[0]), execute(*a, **k))[1])
    ask = Question.ask
    monkeypatch.setattr(Question, "ask", lambda self, on: (asked.append(self), ask(self, on))[1])
    before = client.info("stats")["total_commands_processed"]
    for _ in range(10):
        dispatcher.run_once()
    assert len(asked) == 10
    assert client.info("stats")["total_commands_processed"] - before == 1  # the first of these two questions


def test_jobs_that_come_one_by_one_are_dispatched_and_what_has_moved_on_needs_no_message(
    dispatcher: Dispatcher, lives: Lives, redis_url: str
) -> None:
    drain(dispatcher)
    stay, gone = enqueue(lives.log, 2)
    lives.cancel(gone)
    drain(dispatcher)
    assert dispatched(redis_url) == [stay]
    (later,) = enqueue(lives.log)
    dispatcher.expect()
    dispatcher.run_once()
    assert dispatched(redis_url) == [stay, later]


def _turn_both(one: Dispatcher, other: Dispatcher) -> tuple[()]:
    one.run_once()
    other.run_once()
    return ()


@pytest.mark.parametrize("type_", [r'"a\u0000b"', "null", "[]", r'"\ud800"'])
def test_an_event_that_cannot_be_read_does_not_stand_in_the_way_of_the_others(
    database: str, redis_url: str, logs: Database, type_: str
) -> None:
    with dispatching(database, redis_url) as dispatcher:
        with connect(database) as connection:
            connection.execute(
                "insert into ledger.events (job_id, version, kind, queue, priority, actor, data)"
                " values (%s, 1, 'enqueued', 'mail', 2, 'stranger', %s)",
                [mint(), f'{{"type": {type_}}}'],
            )
        jobs = enqueue(PostgresLog(logs), 3)
        drain(dispatcher)
        assert set(dispatched(redis_url)) >= set(jobs)


def test_positions_drawn_in_vain_are_looked_at_until_nobody_can_fill_them(database: str, redis_url: str) -> None:
    looks: list[int] = []
    with dispatching(database, redis_url) as dispatcher, connect(database) as slow:
        look = dispatcher._dispatch
        dispatcher._dispatch = lambda *cursor: looks.append(1) or look(*cursor)

        def looked() -> bool:
            looks.clear()
            drain(dispatcher)
            return bool(looks)

        with slow.transaction():
            slow.execute("select pg_current_xact_id(), nextval('ledger.event_positions')")
            assert [looked() for _ in range(5)] == [True] * 5, "somebody may still commit there"
        until(lambda: not looked())
        opening = Append(
            job_id=mint(),
            events=(Enqueued(request=Request(type="t")),),
            queue="mail",
            priority=Priority.MEDIUM,
            actor="a",
        )
        with slow.transaction():
            append_on(slow, [opening])
            assert [looked() for _ in range(5)] == [True] * 5
        drain(dispatcher)
        assert dispatched(redis_url) == [opening.job_id]
