"""A message that the client adds itself after its commit: at once, once, in order; at worst late or twice."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import redis
from ledger_projections import dispatch_repair
from ledger_projections.redis_streams import ready
from ledger_projections.told import KEPT, Told

from ledger import Ledger, keys
from ledger.events import Priority
from ledger.ids import mint
from ledger.log import Lease
from ledger.message import Message
from ledger.runtime.database import Database
from ledger.wake import MOST_BY_HAND, Ear
from tests.support.dispatching import dispatched, dispatching, drain, enqueue, hurry, messages
from tests.support.lives import Lives, fold_all
from tests.support.working import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from ledger_projections.dispatch import Dispatcher
    from ledger_projections.redis_streams import Ready

STREAM = keys.stream("mail", Priority.MEDIUM)


class Heard:
    """How often the channel has asked for a look."""

    def __init__(self) -> None:
        self.looks = 0

    def look(self) -> None:
        self.looks += 1


@contextmanager
def hearing(redis_url: str) -> Iterator[Heard]:
    """Channels are common to all tests that run at this time: what is not ours may be among it."""
    heard, stop = Heard(), threading.Event()
    ear = Ear(redis_url, stop, heard.look)
    with redis.Redis.from_url(redis_url) as client:
        until(lambda: client.publish(keys.WAKE, b""))
    until(lambda: heard.looks)
    try:
        yield heard
    finally:
        stop.set()
        ear.close()


@pytest.fixture
def told(redis_url: str) -> Iterator[Told]:
    """One that listens from now on."""
    made = Told(redis_url)
    made.hear()
    yield made
    made.close()


@pytest.fixture
def ledger(database: str, redis_url: str) -> Iterator[Ledger]:
    made = Ledger(database_url=database, redis_url=redis_url)
    yield made
    made.close()


@pytest.fixture
def lives(database: str) -> Iterator[Lives]:
    pool = Database(database)
    yield Lives(pool)
    pool.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


@pytest.fixture
def dispatcher(database: str, redis_url: str, lives: Lives) -> Iterator[Dispatcher]:
    """One that has made the stream, with a message on it."""
    with dispatching(database, redis_url) as made:
        enqueue(lives.log, 1)
        drain(made)
        yield made


def name(job: UUID, version: int = 1) -> bytes:
    return f"{job}:{version}".encode()


def asking(*jobs: UUID) -> list[Ready]:
    """What a dispatcher that has read of these jobs asks about."""
    return [ready("mail", 2, Message(job, 1, 1, "")) for job in jobs]


def send(ledger: Ledger, **options: Any) -> UUID:
    return ledger.enqueue("email.send", queue="mail", **options)


def test_a_ready_job_is_on_its_stream_before_any_dispatcher_has_looked(dispatcher, ledger, redis_url):
    job = send(ledger)
    until(lambda: len(dispatched(redis_url)) == 2)
    assert messages(redis_url)[1] == Message(job, 1, 1, "email.send")


def test_a_dispatcher_that_was_told_does_not_add_it_again(dispatcher, ledger, redis_url):
    before = dispatched(redis_url)
    jobs = [send(ledger) for _ in range(5)]
    until(lambda: sorted(dispatched(redis_url)) == sorted(before + jobs))
    until(lambda: not dispatcher.told.others(asking(*jobs)))
    drain(dispatcher)
    assert dispatched(redis_url) == before + jobs
    assert dispatcher.dispatched == 6


def test_one_that_was_not_told_adds_it_twice_and_a_worker_runs_it_once(dispatcher, ledger, lives, redis_url):
    dispatcher.told.close()
    job = send(ledger)
    until(lambda: job in dispatched(redis_url))
    drain(dispatcher)
    assert dispatched(redis_url).count(job) == 2
    assert [len(lives.log.lease([Lease(job, 1, nonce)], "w-1")) for nonce in ("a", "b")] == [1, 0]


def test_without_a_stream_nothing_is_added_and_the_dispatchers_are_asked(ledger, redis_url, client, told):
    with hearing(redis_url) as heard:
        before = heard.looks
        job = send(ledger)
        until(lambda: heard.looks > before)
        ledger.close()
        assert not client.exists(STREAM)
        assert told.others(asking(job)) == asking(job)


def test_a_stream_that_came_back_without_its_messages_is_filled_though_they_were_told(
    dispatcher, ledger, database, redis_url, client
):
    job = send(ledger)
    until(lambda: not dispatcher.told.others(asking(job)))
    client.flushdb()  # Redis restarted, and empty
    drain(dispatcher)
    hurry(dispatcher)
    pool = Database(database)
    fold_all(pool)
    hurry(dispatcher)
    pool.close()
    assert job in dispatched(redis_url)


def test_a_message_that_was_told_and_is_not_there_comes_back(dispatcher, lives, database, redis_url, monkeypatch):
    """As one that Redis has lost without a trace, or that somebody has made up."""
    monkeypatch.setattr(dispatch_repair, "AGE", "0 seconds")
    (job,) = enqueue(lives.log)
    dispatcher.told.add([name(job)])
    drain(dispatcher)
    assert job not in dispatched(redis_url)
    pool = Database(database)
    fold_all(pool)
    pool.close()
    hurry(dispatcher)
    assert job in dispatched(redis_url)


def test_it_does_not_overtake_what_a_callers_transaction_has_made(dispatcher, ledger, database, redis_url):
    with psycopg.connect(database) as connection:
        first = send(ledger, connection=connection)
        with hearing(redis_url) as heard:
            connection.commit()
            before = heard.looks
            second = send(ledger)
            until(lambda: heard.looks > before)
            ledger.close()
            assert dispatched(redis_url)[1:] == []
            drain(dispatcher)
    assert dispatched(redis_url)[1:] == [first, second]


def test_a_job_that_is_rolled_back_has_no_message(dispatcher, ledger, database, redis_url):
    with psycopg.connect(database) as connection:
        send(ledger, connection=connection)
        connection.rollback()
    ledger.close()
    drain(dispatcher)
    assert len(dispatched(redis_url)) == 1


def test_it_does_not_overtake_a_batch_that_the_dispatcher_is_still_to_bring(database, redis_url, lives, ledger, client):
    with dispatching(database, redis_url, batch_size=10) as dispatcher:
        jobs = enqueue(lives.log, 25)
        assert dispatcher.run_once()
        assert dispatched(redis_url) == jobs[:10]
        job = send(ledger)
        ledger.close()
        assert dispatched(redis_url) == jobs[:10]
        drain(dispatcher)
        assert dispatched(redis_url) == [*jobs, job]
        assert 0 < client.pttl(keys.hold("mail")) <= 1000


def test_many_at_a_time_are_left_to_the_dispatcher(dispatcher, ledger, redis_url):
    jobs = ledger.enqueue_many([{"type": "email.send", "queue": "mail"}] * (MOST_BY_HAND + 1))
    ledger.close()
    assert len(dispatched(redis_url)) == 1
    drain(dispatcher)
    assert dispatched(redis_url)[1:] == jobs


def test_a_few_keep_their_order(dispatcher, ledger, redis_url):
    jobs = ledger.enqueue_many([{"type": "email.send", "queue": "mail"}] * 10)
    until(lambda: len(dispatched(redis_url)) == 11)
    assert dispatched(redis_url)[1:] == jobs


def test_a_scheduled_job_has_no_message_and_neither_has_one_that_an_earlier_request_made(dispatcher, ledger, redis_url):
    later = send(ledger, delay=timedelta(hours=1))
    job = send(ledger, idempotency_key="k")
    assert send(ledger, idempotency_key="k") == job
    ledger.close()
    assert dispatched(redis_url)[1:] == [job]
    drain(dispatcher)
    assert later not in dispatched(redis_url)


def test_a_retried_job_and_one_run_before_its_time_come_at_their_version_and_attempt(
    dispatcher, ledger, lives, redis_url
):
    scheduled = send(ledger, delay=timedelta(hours=1))
    dead = send(ledger, max_retries=0)
    lives.lease(dead)
    lives.fail(dead)
    ledger.run_now(scheduled)
    ledger.retry(dead)
    ledger.close()
    version = ledger.get(dead).version
    assert Message(scheduled, 2, 1, "email.send") in messages(redis_url)
    assert Message(dead, version, 2, "email.send") in messages(redis_url)


def test_redis_that_lets_a_client_do_no_more_than_publish_costs_the_short_cut_only(
    dispatcher, database, redis_url, private_redis
):
    with redis.Redis.from_url(private_redis.url) as admin, dispatching(database, private_redis.url) as other:
        drain(other)
        assert admin.exists(STREAM)
        # Whoever may not run scripts, or write to streams.
        admin.acl_setuser("web", enabled=True, nopass=True, commands=["+publish", "+client"], channels=["*"])
        url = private_redis.url.replace("redis://", "redis://web:none@")
        limited = Ledger(database_url=database, redis_url=url)
        with hearing(private_redis.url) as heard:
            for _ in range(2):
                before = heard.looks
                job = send(limited)
                until(lambda before=before: heard.looks > before)
                drain(other)
                assert dispatched(private_redis.url)[-1] == job
        limited.close()


def test_what_was_told_long_ago_is_forgotten(told):
    job = mint()
    asked = asking(job)
    assert told.others(asked) == asked
    told.add([name(job)])
    assert told.others(asked) == []
    for share in range(3):
        told.add(f"{share}.{n}".encode() for n in range(KEPT))
    assert told.others(asked) == asked
    told.add([name(job)])
    told.forget()
    assert told.others(asked) == asked


def test_nobody_is_woken_for_what_is_on_its_stream_already(database, private_redis):
    with dispatching(database, private_redis.url) as dispatcher:
        drain(dispatcher)
        ledger = Ledger(database_url=database, redis_url=private_redis.url)
        send(ledger)
        ledger.close()
        drain(dispatcher)  # which makes the stream
        with hearing(private_redis.url) as heard:
            before = heard.looks
            job = send(ledger)
            until(lambda: not dispatcher.told.others(asking(job)))
            assert heard.looks == before
            ledger.waker.wake()
            until(lambda: heard.looks == before + 1)
            ledger.close()


def test_nobody_is_woken_by_what_a_client_of_an_older_version_has_added(private_redis):
    with hearing(private_redis.url) as heard, redis.Redis.from_url(private_redis.url) as older:
        before = heard.looks
        older.publish(keys.WAKE, name(mint()))
        older.publish(keys.WAKE, b"")
        until(lambda: heard.looks == before + 1)


def test_one_whose_connection_is_lost_hears_again(private_redis, monkeypatch):
    monkeypatch.setattr("ledger_projections.told._PAUSE_WHEN_DOWN", 0.0)
    job, told = mint(), Told(private_redis.url)
    told.hear()
    with redis.Redis.from_url(private_redis.url) as client:
        (line,) = (each for each in client.client_list() if each["name"] == "ledger-told")
        client.client_kill_filter(_id=line["id"])
        told.hear()  # which finds that it is gone
        told.hear()
        assert client.publish(keys.TOLD, name(job)) == 1
        until(lambda: not told.others(asking(job)))
    told.close()


def test_a_dispatcher_does_not_run_after_those_who_are_telling_it(dispatcher, lives):
    enqueue(lives.log)
    assert dispatcher.run_once(), "nobody tells: whoever came by itself may not be alone"
    drain(dispatcher)
    dispatcher.told.add([name(mint())])
    enqueue(lives.log)
    assert not dispatcher.run_once()
    assert dispatcher.dispatched == 3
