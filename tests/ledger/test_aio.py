"""The await twins: the same verbs without blocking the loop, and the caller's asynchronous transaction decides."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from ledger import CommandRefused, IdempotencyConflict, InvalidRequest, JobNotFound, Ledger
from ledger.aio import Threads
from ledger.bound import BoundHandler
from ledger.handlers import Job, Token, current_job
from ledger.job import State
from ledger.runtime.database import sqlalchemy_url
from tests.support.working import until

if TYPE_CHECKING:
    from uuid import UUID


@pytest.fixture(scope="module")
def app(module_database, module_redis_url):
    ledger = Ledger(database_url=module_database, redis_url=module_redis_url)

    @ledger.job("email.send", queue="mail")
    def send_email(to: str) -> None:
        raise NotImplementedError

    yield ledger
    ledger.close()


@pytest.fixture
def send(app):
    return app.handlers["email.send"]


@asynccontextmanager
async def psycopg_way(database):
    async with await psycopg.AsyncConnection.connect(database, row_factory=dict_row) as connection:
        yield connection, connection.transaction, connection.commit, connection.rollback


@asynccontextmanager
async def sqlalchemy_connection_way(database):
    engine = create_async_engine(sqlalchemy_url(database), poolclass=NullPool)
    async with engine.connect() as connection:
        yield connection, connection.begin_nested, connection.commit, connection.rollback


@asynccontextmanager
async def sqlalchemy_session_way(database):
    engine = create_async_engine(sqlalchemy_url(database), poolclass=NullPool)
    async with AsyncSession(engine) as session:
        yield session, session.begin_nested, session.commit, session.rollback


WAYS = pytest.mark.parametrize(
    "way", [psycopg_way, sqlalchemy_connection_way, sqlalchemy_session_way], ids=lambda way: way.__name__
)
COROUTINES = [name for name in dir(Ledger) if name.startswith("a") and hasattr(Ledger, name[1:])]


def exists(app, job_id) -> bool:
    try:
        app.get(job_id)
    except JobNotFound:
        return False
    return True


async def undone(app, savepoint, connection, lost) -> None:
    """Leave a savepoint by an error, with jobs made in it."""
    async with savepoint:
        lost.append(await app.aenqueue("a", connection=connection))
        lost += await app.aenqueue_many([{"type": "a"}, {"type": "b"}], connection=connection)
        raise RuntimeError("undo")


def until_waiting(database, *connections) -> None:
    """Return when Postgres says that all these wait for somebody's lock."""
    pids = [each.info.backend_pid for each in connections]
    waiting = "select count(distinct pid) from pg_locks where pid = any(%s) and not granted"
    with psycopg.connect(database, autocommit=True) as own:
        until(lambda: own.execute(waiting, [pids]).fetchone() == (len(pids),))


def test_every_verb_has_its_twin_with_the_same_parameters():
    assert {
        "aenqueue",
        "aenqueue_many",
        "aget",
        "ahistory",
        "anotes",
        "acancel",
        "aretry",
        "arun_now",
        "adiscard",
    } <= set(COROUTINES)
    for owner, names in ((Ledger, COROUTINES), (BoundHandler, ["aenqueue", "aschedule"])):
        for name in names:
            assert inspect.iscoroutinefunction(getattr(owner, name))
            assert inspect.signature(getattr(owner, name)) == inspect.signature(getattr(owner, name[1:]))


def test_the_verbs_can_be_awaited(app, send):
    async def live():
        now = await send.aenqueue(to="a")
        later = await send.aschedule(to="b", delay="1h")
        many = await app.aenqueue_many([{"type": "a"}, {"type": "b"}])
        assert [(await app.aget(each)).state for each in (now, later, *many)] == [
            "ready",
            "scheduled",
            "ready",
            "ready",
        ]
        assert (await app.arun_now(later)).state == State.READY
        assert (await app.acancel(now, reason="no", actor="cli:eve")).state == State.CANCELLED
        assert [entry.actor for entry in await app.ahistory(now)][1:] == ["cli:eve"]
        assert await app.anotes(now) == []
        with pytest.raises(CommandRefused):
            await app.aretry(later)
        with pytest.raises(CommandRefused):
            await app.adiscard(later)
        with pytest.raises(InvalidRequest):
            await send.aenqueue(to=3)

    asyncio.run(live())


def test_the_loop_turns_while_the_verb_is_at_work(app):
    async def live():
        turned = asyncio.Event()
        asyncio.get_running_loop().call_soon(turned.set)
        job = asyncio.create_task(app.aenqueue("a"))
        await turned.wait()
        assert not job.done()
        await job

    asyncio.run(live())


def test_many_at_once_are_bounded_by_the_pool_and_all_made(app):
    async def live():
        return await asyncio.gather(*(app.aenqueue("a", {"n": n}) for n in range(200)))

    assert len(set(asyncio.run(live()))) == 200


def test_what_a_handler_enqueues_still_says_which_run_caused_it(app):
    parent = app.enqueue("parent")
    running = Job(
        id=parent, type="parent", body=b"{}", queue="default", priority="medium", attempt=1, retry_count=0,
        max_retries=3, timeout=timedelta(minutes=5), metadata={}, token=Token(parent, 2), correlation_id=str(parent),
        worker_id="host-1",
    )  # fmt: skip

    async def live():
        current_job.set(running)
        return await app.aenqueue("child")

    (first,) = app.history(asyncio.run(live()))
    assert (first.actor, first.trace.causation_id) == ("worker:host-1", f"{parent}:2")


@WAYS
@pytest.mark.parametrize("commits", [True, False])
def test_the_callers_transaction_decides(app, module_database, send, way, commits):
    async def live():
        async with way(module_database) as (connection, _, commit, rollback):
            job_id = await send.aenqueue(to="a", connection=connection)
            assert not await asyncio.to_thread(exists, app, job_id), "seen before the commit"
            assert len(await app.ahistory(job_id, connection=connection)) == 1
            await (commit() if commits else rollback())
        return job_id

    assert exists(app, asyncio.run(live())) is commits


@WAYS
def test_a_savepoint_rolled_back_takes_its_jobs_along(app, module_database, way):
    async def live():
        async with way(module_database) as (connection, savepoint, commit, _):
            kept = await app.aenqueue("a", connection=connection)
            lost: list[UUID] = []
            with pytest.raises(RuntimeError, match="undo"):
                await undone(app, savepoint(), connection, lost)
            async with savepoint():
                kept_too = await app.aenqueue("a", connection=connection)
            await commit()
        return kept, kept_too, *lost

    assert [exists(app, job_id) for job_id in asyncio.run(live())] == [True, True, False, False, False]


@WAYS
def test_verbs_and_idempotency_keys_join_as_well(app, module_database, way):
    key, job_id = f"async-{way.__name__}", app.enqueue("a")

    async def live():
        async with way(module_database) as (connection, _, commit, rollback):
            assert (await app.acancel(job_id, connection=connection)).state == State.CANCELLED
            await app.aenqueue("a", {"n": 1}, idempotency_key=key, connection=connection)
            await rollback()
            made = await app.aenqueue("a", {"n": 2}, idempotency_key=key, connection=connection)
            assert await app.aenqueue("a", {"n": 2}, idempotency_key=key, connection=connection) == made
            with pytest.raises(IdempotencyConflict):
                await app.aenqueue("a", {"n": 3}, idempotency_key=key, connection=connection)
            await commit()
            return made

    assert exists(app, asyncio.run(live()))
    assert app.get(job_id).state == State.READY


@pytest.mark.parametrize("way", [sqlalchemy_connection_way, sqlalchemy_session_way], ids=lambda way: way.__name__)
def test_inside_run_sync_the_synchronous_verb_joins(app, module_database, send, way):
    async def live():
        async with way(module_database) as (connection, savepoint, commit, _):
            kept = await connection.run_sync(lambda inner: send.enqueue(to="a", connection=inner))
            nested = await savepoint()
            lost = await connection.run_sync(lambda inner: send.enqueue(to="a", connection=inner))
            await nested.rollback()
            await commit()
        return kept, lost

    assert [exists(app, job_id) for job_id in asyncio.run(live())] == [True, False]


def test_a_call_that_waits_in_the_callers_transaction_can_be_cancelled_and_leaves_the_connection_alone(
    app, module_database
):
    key = "held"

    async def live():
        holder = await psycopg.AsyncConnection.connect(module_database)
        async with holder, await psycopg.AsyncConnection.connect(module_database) as waiter:
            await app.aenqueue("a", idempotency_key=key, connection=holder)
            call = asyncio.create_task(app.aenqueue("a", {"n": 2}, idempotency_key=key, connection=waiter))
            await asyncio.to_thread(until_waiting, module_database, waiter)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert waiter.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
            await waiter.rollback()
            await holder.rollback()
            free = await app.aenqueue("a", {"n": 3}, idempotency_key=key, connection=waiter)
            await waiter.commit()
            return free

    assert app.get(asyncio.run(live())).payload == {"n": 3}


def test_calls_that_wait_for_a_transaction_leave_it_a_thread_for_its_next_call(app, module_database):
    async def live():
        most = app.settings.database_pool_size + 1
        connections = [await psycopg.AsyncConnection.connect(module_database) for _ in range(most + 1)]
        holder, *waiters = connections
        await app.aenqueue("a", idempotency_key="crowd", connection=holder)
        calls = [asyncio.create_task(app.aenqueue("a", idempotency_key="crowd", connection=each)) for each in waiters]
        await asyncio.to_thread(until_waiting, module_database, *waiters)
        second = await app.aenqueue("b", connection=holder)
        await holder.commit()
        made = await asyncio.gather(*(finished(call, each) for call, each in zip(calls, waiters, strict=True)))
        await holder.close()
        return second, made

    async def finished(call, connection):
        made = await call
        await connection.close()
        return made

    second, made = asyncio.run(live())
    assert exists(app, second)
    assert len(set(made)) == 1


@pytest.mark.parametrize("stranger", [object(), "x"])
def test_a_synchronous_or_foreign_connection_is_refused(app, module_database, stranger):
    with pytest.raises(TypeError, match="AsyncSession"):
        asyncio.run(app.aenqueue("a", connection=stranger))
    with psycopg.connect(module_database) as connection, pytest.raises(TypeError, match="await twins"):
        asyncio.run(app.aenqueue("a", connection=connection))


def test_an_asynchronous_connection_is_not_for_the_synchronous_verb(app, module_database):
    async def live():
        async with await psycopg.AsyncConnection.connect(module_database) as connection:
            with pytest.raises(TypeError, match="await twins"):
                app.enqueue("a", connection=connection)

    asyncio.run(live())


def test_a_cancelled_call_that_had_not_begun_does_nothing():
    begun = []

    async def live():
        threads, hold = Threads(lambda: 1), asyncio.Event()
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(threads.call(lambda: asyncio.run_coroutine_threadsafe(hold.wait(), loop).result()))
        second = asyncio.create_task(threads.call(lambda: begun.append("second")))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        hold.set()
        await first
        threads.close()

    asyncio.run(live())
    assert begun == []


def test_after_close_the_twins_begin_anew(app):
    async def live():
        await app.aenqueue("a")
        app.close()
        return await app.aenqueue("a")

    assert exists(app, asyncio.run(live()))
