"""A log that was taken back in time is noticed before anything is dispatched from it, told, and dispatched anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis
from click.testing import CliRunner
from ledger_projections.dispatch import Dispatcher

from ledger import keys
from ledger.cli import main
from ledger.runtime.database import Database
from tests.support.lives import Lives, fold_all
from tests.support.servers import connect
from tests.support.working import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID


@pytest.fixture
def pool(database: str) -> Iterator[Database]:
    pool = Database(database)
    yield pool
    pool.close()


@pytest.fixture
def lives(pool: Database) -> Lives:
    return Lives(pool)


def dispatch(pool: Database, redis_url: str) -> Dispatcher:
    """Do what a projector does from its start until nothing is left, and end."""
    fold_all(pool)
    dispatcher = Dispatcher(pool, redis_url)
    dispatcher.prepare()
    while dispatcher.run_once():
        pass
    dispatcher.close()
    return dispatcher


def rewind(database: str, job_id: UUID) -> None:
    """Take a job's events away, as a restore of a backup does, which holds the cursors of that time too."""
    with connect(database) as owner, owner.transaction():
        owner.execute("set local session_replication_role = replica")
        owner.execute("delete from ledger.events where job_id = %s", [job_id])
        owner.execute("delete from ledger_read.jobs where job_id = %s", [job_id])


def messages(redis_url: str) -> set[str]:
    with redis.Redis.from_url(redis_url) as client:
        return {fields[b"job"].decode() for stream in keys.streams("mail") for _, fields in client.xrange(stream)}


def marked(redis_url: str) -> str:
    with redis.Redis.from_url(redis_url) as client:
        return (client.get(keys.MARK) or b"").decode()


def audit(database: str) -> list[tuple]:
    with connect(database) as owner:
        return owner.execute("select action, actor, after ->> 'event' from ledger.audit").fetchall()


def test_an_event_that_was_dispatched_and_is_gone_is_told_once(pool, lives, database, redis_url, monkeypatch):
    """G20: the loss is reported, in the log, in the audit and by doctor, and jobs go on."""
    kept, lost = lives.enqueue(), lives.enqueue()
    assert dispatch(pool, redis_url).rewinds == 0
    assert messages(redis_url) == {str(kept), str(lost)}
    rewind(database, lost)
    later = lives.enqueue()

    found = dispatch(pool, redis_url)

    assert (found.rewinds, found.refills) == (1, 1)
    assert audit(database) == [("log.rewound", "projector", f"{lost}:1")]
    assert {str(kept), str(later)} <= messages(redis_url)
    assert dispatch(pool, redis_url).rewinds == 0
    for name, value in {"DATABASE_URL": database, "REDIS_URL": redis_url, "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    assert f"{lost}:1 was there and is gone" in CliRunner().invoke(main, ["doctor"]).output


def test_the_same_step_put_there_again_hides_nothing(pool, lives, database, redis_url):
    """After a restore the scheduler enqueues what is due anew: the same version of the same job, another event."""
    job = lives.enqueue()
    dispatch(pool, redis_url)
    with connect(database) as owner, owner.transaction():
        owner.execute("set local session_replication_role = replica")
        owner.execute("update ledger.events set at = at + interval '1 second' where job_id = %s", [job])
    assert dispatch(pool, redis_url).rewinds == 1


def test_an_outcome_that_is_gone_is_noticed_too(pool, lives, database, redis_url):
    job = lives.enqueue()
    lives.lease(job)
    fold_all(pool)
    dispatcher = Dispatcher(pool, redis_url)
    dispatcher.prepare()
    while dispatcher.run_once():
        pass
    lives.succeed(job)
    until(lambda: not dispatcher.run_once() and marked(redis_url).startswith(f"{job}:3:"))
    dispatcher.close()
    with connect(database) as owner, owner.transaction():
        owner.execute("set local session_replication_role = replica")
        owner.execute("delete from ledger.events where job_id = %s and version = 3", [job])
    assert dispatch(pool, redis_url).rewinds == 1


def test_a_lease_that_a_crash_took_away_is_no_alarm(pool, lives, database, redis_url):
    job = lives.enqueue()
    lives.lease(job)
    dispatch(pool, redis_url)
    with connect(database) as owner, owner.transaction():
        owner.execute("set local session_replication_role = replica")
        owner.execute("delete from ledger.events where job_id = %s and version = 2", [job])
    assert dispatch(pool, redis_url).rewinds == 0


def test_two_that_notice_tell_it_once(pool, lives, database, redis_url):
    lost = lives.enqueue()
    dispatch(pool, redis_url)
    mark = marked(redis_url)
    rewind(database, lost)
    assert dispatch(pool, redis_url).rewinds == 1
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.MARK, mark)  # as another dispatcher does that has not looked yet
    assert dispatch(pool, redis_url).rewinds == 0
    assert len(audit(database)) == 1


def test_nothing_is_dispatched_before_it_is_noticed(pool, lives, database, redis_url):
    lost = lives.enqueue()
    dispatch(pool, redis_url)
    rewind(database, lost)
    later = lives.enqueue()
    fold_all(pool)
    dispatcher = Dispatcher(pool, redis_url)
    dispatcher.prepare()
    dispatcher.run_once()
    assert dispatcher.rewinds == 1
    assert dispatcher.dispatched == 0
    while dispatcher.run_once():
        pass
    assert str(later) in messages(redis_url)
    dispatcher.close()


def test_a_new_connection_looks_again(pool, lives, database, redis_url):
    lost = lives.enqueue()
    fold_all(pool)
    dispatcher = Dispatcher(pool, redis_url)
    dispatcher.prepare()
    while dispatcher.run_once():
        pass
    rewind(database, lost)
    assert not dispatcher.run_once()
    assert dispatcher.rewinds == 0  # the connection is the one it was: nothing can have been restored behind it
    dispatcher.close()
    dispatcher.run_once()
    assert dispatcher.rewinds == 1
    dispatcher.close()


def test_a_week_that_left_the_log_is_no_loss(pool, lives, database, redis_url):
    gone = lives.enqueue()
    dispatch(pool, redis_url)
    rewind(database, gone)
    with connect(database) as owner:
        owner.execute(
            "insert into ledger.retirements (partition, born_from, born_to, jobs, events) "
            "select partition, born_from, born_to, 1, 1 from ledger.partition_bounds() "
            "where born_from <= %(id)s and %(id)s < born_to",
            {"id": gone},
        )
    assert dispatch(pool, redis_url).rewinds == 0


def test_a_redis_that_was_emptied_remembers_nothing_and_alarms_nobody(pool, lives, database, redis_url):
    lost = lives.enqueue()
    dispatch(pool, redis_url)
    rewind(database, lost)
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    assert dispatch(pool, redis_url).rewinds == 0
    assert audit(database) == []
