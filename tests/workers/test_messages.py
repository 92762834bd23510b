"""What a worker takes from the dispatch streams, in which order, and that nothing it takes is lost."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import redis
from ledger_workers.messages import Messages
from ledger_workers.turns import turns

from ledger import ids, keys
from ledger.events import Priority
from ledger.message import Message
from ledger.runtime import failpoints
from ledger.settings import queues
from tests.support.working import until

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = timedelta(seconds=30)


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@contextmanager
def reading(redis_url: str, names: str = "a,b", worker_id: str = "w-1", block: timedelta = BLOCK) -> Iterator[Messages]:
    messages = Messages(redis_url, turns(queues(names)), worker_id, block=block)
    try:
        yield messages
    finally:
        messages.close()


def add(
    server: redis.Redis, queue: str, priority: Priority = Priority.MEDIUM, count: int = 1, type_: str = "t"
) -> None:
    for _ in range(count):
        server.xadd(keys.stream(queue, priority), Message(ids.mint(), 1, 1, "t").fields())


def pending(server: redis.Redis, queue: str, priority: Priority = Priority.MEDIUM) -> int:
    return server.xpending(keys.stream(queue, priority), keys.GROUP)["pending"]


def test_t10_d37_order_is_by_queue_and_strictly_by_priority_inside(server: redis.Redis, redis_url: str) -> None:
    for queue in ("b", "a"):
        for priority in reversed(Priority):
            add(server, queue, priority, 2)
    with reading(redis_url) as messages:
        taken = [delivery.stream for delivery in [*messages.take(3), *messages.take(100)]]
    assert taken == [keys.stream(queue, priority) for queue in "ab" for priority in Priority for _ in range(2)]


@pytest.mark.parametrize("protocol", [2, 3])
def test_both_protocols_bring_what_is_there_and_what_comes(server: redis.Redis, redis_url: str, protocol: int) -> None:
    found: list[str] = []
    with reading(f"{redis_url}?protocol={protocol}") as messages:
        add(server, "a", count=2)
        found += [delivery.message.type for delivery in messages.take(5)]
        waiting = threading.Thread(target=lambda: found.extend(each.message.type for each in messages.read(5)))
        waiting.start()
        until(lambda: any(line["cmd"] == "xreadgroup" for line in server.client_list()))
        add(server, "b")
        waiting.join(timeout=30)
    assert found == ["t"] * 3


def test_never_more_than_wanted(server: redis.Redis, redis_url: str) -> None:
    for priority in Priority:
        add(server, "a", priority, 5)
    with reading(redis_url) as messages:
        assert [len(messages.take(count)) for count in (1, 7, 100)] == [1, 7, 12]


def test_d32_acknowledged_messages_leave_with_the_next_read(server: redis.Redis, redis_url: str) -> None:
    add(server, "a", count=3)
    with reading(redis_url) as messages:
        messages.acknowledge(messages.take(2))
        assert server.xlen(keys.stream("a", Priority.MEDIUM)) == 3
        assert len(messages.take(5)) == 1
        assert server.xlen(keys.stream("a", Priority.MEDIUM)) == 1
        assert pending(server, "a") == 1


def test_an_idle_worker_gets_a_new_message_at_once(server: redis.Redis, redis_url: str) -> None:
    # A name of its own: another test that runs beside this one ends the reads of its `w-1` on the same server.
    with reading(redis_url, worker_id="idle", block=timedelta(seconds=30)) as messages:
        threading.Timer(0.1, add, (server, "b", Priority.LOW)).start()
        (delivery,) = messages.read(10)
        assert delivery.queue == "b"


def test_t11_d12_what_all_streams_bring_at_once_is_not_stranded(server: redis.Redis, redis_url: str) -> None:
    def feed() -> None:
        for queue in ("a", "b"):
            for priority in Priority:
                add(server, queue, priority)

    with reading(redis_url) as messages:
        with failpoints.armed("before_block", feed):
            first = messages.read(3)
        assert len(first) == 3
        with reading(redis_url, worker_id="w-2") as other:
            assert len(other.take(100)) == 5
    jobs = {delivery.message.job_id for delivery in first}
    assert len(jobs) == 3


def test_stop_ends_a_waiting_read_at_once(redis_url: str) -> None:
    with reading(redis_url) as messages:
        answers: list[list] = []
        waiting = threading.Event()
        with failpoints.armed("before_block", waiting.set):
            thread = threading.Thread(target=lambda: answers.append(messages.read(1)))
            thread.start()
            assert waiting.wait(10)
            messages.stop()
            thread.join(5)
        assert answers == [[]]
        assert messages.read(1) == []


def test_groups_are_made_again_after_redis_lost_them(server: redis.Redis, redis_url: str) -> None:
    with reading(redis_url) as messages:
        assert messages.take(1) == []
        server.flushdb()
        add(server, "a", count=2)
        assert len(messages.take(10)) == 2


def test_a_group_lost_while_blocking_is_made_again(server: redis.Redis, redis_url: str) -> None:
    with reading(redis_url) as messages:
        with failpoints.armed("before_block", server.flushdb):
            assert messages.read(1) == []
        add(server, "a")
        assert len(messages.read(1)) == 1


def test_a_group_lost_after_a_wait_in_vain_is_made_again(server: redis.Redis, redis_url: str) -> None:
    with reading(redis_url) as messages:
        assert messages.read(1) == []
        server.flushdb()
        assert messages.read(1) == []
        add(server, "a")
        assert len(messages.read(1)) == 1


def test_put_back_is_for_anybody(server: redis.Redis, redis_url: str) -> None:
    add(server, "a", count=3)
    with reading(redis_url) as messages, reading(redis_url, worker_id="w-2") as other:
        taken = messages.take(3)
        messages.put_back(taken)
        assert pending(server, "a") == 0
        assert [d.message for d in other.take(9)] == [d.message for d in taken]


def test_t12_d15_d32_messages_of_silent_workers_are_taken_over_and_the_workers_forgotten(
    server: redis.Redis, redis_url: str
) -> None:
    stream = keys.stream("a", Priority.MEDIUM)
    add(server, "a", count=1200)
    server.xgroup_create(stream, keys.GROUP, "0")
    server.xreadgroup(keys.GROUP, "dead", {stream: ">"}, count=1100)
    server.xtrim(stream, maxlen=700, approximate=False)
    for number in range(50):
        server.xgroup_createconsumer(stream, keys.GROUP, f"gone-{number}")
    with reading(redis_url) as messages:
        assert messages.take_over(timedelta(hours=1)) == 0
        messages.take(1)
        moved = [messages.take_over(timedelta(0)) for _ in range(4)]
        assert sum(moved) == 600  # of 1100 pending ones 500 were trimmed away
        assert pending(server, "a") == 1
        assert [consumer["name"] for consumer in server.xinfo_consumers(stream, keys.GROUP)] == [b"w-1"]
        assert len(messages.take(5000)) == 699


def test_what_is_not_a_message_is_dropped(server: redis.Redis, redis_url: str) -> None:
    server.xadd(keys.stream("a", Priority.HIGH), {"job": "nonsense"})
    add(server, "a")
    with reading(redis_url) as messages:
        assert len(messages.take(5)) == 1
        messages.flush()
        assert server.xlen(keys.stream("a", Priority.HIGH)) == 0


def test_d32_closing_leaves_no_consumer(server: redis.Redis, redis_url: str) -> None:
    add(server, "a", Priority.LOW)  # Redis 7.0 makes no consumer for a read that brings nothing
    with reading(redis_url) as messages:
        messages.acknowledge(messages.take(1))
        assert server.xinfo_consumers(keys.stream("a", Priority.LOW), keys.GROUP)
    for priority in Priority:
        assert server.xinfo_consumers(keys.stream("a", priority), keys.GROUP) == []


def test_t10_d22_weights_share_the_messages_while_all_queues_have_work(server: redis.Redis, redis_url: str) -> None:
    for queue in ("a", "b", "c"):
        add(server, queue, count=200)
    with reading(redis_url, "a:6,b:3,c:1") as messages:
        taken = [delivery.queue for _ in range(20) for delivery in messages.take(5)]
    assert {queue: taken.count(queue) for queue in "abc"} == {"a": 60, "b": 30, "c": 10}


def test_a_weighted_worker_is_filled_by_whoever_has_work(server: redis.Redis, redis_url: str) -> None:
    add(server, "c", count=30)
    with reading(redis_url, "a:6,b:3,c:1") as messages:
        assert [len(messages.take(10)) for _ in range(3)] == [10, 10, 10]


def test_a_queue_that_was_empty_gets_its_share_again(server: redis.Redis, redis_url: str) -> None:
    add(server, "a", count=5000)
    with reading(redis_url, "a:1,b:1") as messages:
        messages.take(10)
        add(server, "b", count=100)
        until(lambda: any(delivery.queue == "b" for delivery in messages.take(2)), 10)
