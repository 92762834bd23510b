"""What only the log in Postgres can show: other people's transactions, the caller's own, and what it waits for."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from msgspec.structs import replace
from psycopg.errors import LockNotAvailable

from ledger.events import Cancelled, Failed, Succeeded
from ledger.ids import mint
from ledger.log import Blocked, Conflict, Lease, Recorded
from ledger.postgres import PostgresLog, append_on, histories_on
from ledger.runtime.database import Database
from tests.support.histories import first, following

CANCELLED = Cancelled(cause="requested")


@pytest.fixture(scope="module")
def log(module_database):
    database = Database(module_database, size=8)
    yield PostgresLog(database)
    database.close()


@pytest.fixture
def stranger(module_database):
    """Somebody's transaction, which stays open."""
    with psycopg.connect(module_database) as connection:
        yield connection
        connection.rollback()


class TestOtherPeoplesTransactions:
    @pytest.fixture
    def ready(self, log):
        ids = [mint() for _ in range(40)]
        log.append([first(job_id) for job_id in ids])
        return ids

    @pytest.fixture
    def held(self, log, ready, stranger):
        """A ready job that somebody has cancelled, and not committed yet."""
        append_on(stranger, [following(log.history(ready[17]), CANCELLED)])
        return ready[17]

    def test_an_append_that_meets_one_is_answered_blocked_and_the_others_go_on(self, log, ready, held):
        seen = log.histories(ready)
        begun = time.monotonic()

        outcomes = log.append([following(seen[job_id], CANCELLED) for job_id in ready])

        assert time.monotonic() - begun < 10
        assert [outcome for outcome in outcomes if not isinstance(outcome, Recorded)] == [Blocked(held, 2)]
        assert [outcome.job_id for outcome in outcomes] == ready

    def test_a_blocked_append_wins_or_loses_when_the_other_ends(self, log, ready, held, stranger):
        append = following(log.history(held), Cancelled(cause="expired"))
        assert log.append([append]) == [Blocked(held, 2)]

        stranger.commit()

        assert log.append([append]) == [Conflict(held, 2)]

    def test_a_blocked_append_wins_if_the_other_rolls_back(self, log, ready, held, stranger):
        append = following(log.history(held), Cancelled(cause="expired"))
        assert log.append([append]) == [Blocked(held, 2)]

        stranger.rollback()

        [outcome] = log.append([append])
        assert isinstance(outcome, Recorded)

    def test_a_lease_that_meets_one_is_left_and_the_others_are_won(self, log, ready, held):
        won = log.lease([Lease(job_id, 1, "n") for job_id in ready], "w1")

        assert {entries[0].job_id for entries in won} == set(ready) - {held}
        assert log.lease([Lease(held, 1, "n")], "w1") == []

    def test_an_id_somebody_is_about_to_take_blocks(self, log, stranger):
        job_id = mint()
        append_on(stranger, [first(job_id)])

        assert log.append([first(job_id)]) == [Blocked(job_id, 1)]

    def test_what_is_not_committed_is_not_there(self, log, stranger):
        job_id = mint()
        append_on(stranger, [first(job_id)])

        assert log.history(job_id) == ()
        assert log.lease([Lease(job_id, 1, "n")], "w1") == []

    def test_batches_in_opposite_orders_do_not_deadlock(self, log):
        barrier = threading.Barrier(2)

        def append(ids):
            barrier.wait(timeout=30)
            return log.append([first(job_id) for job_id in ids])

        for _ in range(20):
            ids = [mint() for _ in range(100)]
            with ThreadPoolExecutor(2) as pool:
                one, other = pool.map(append, [ids, ids[::-1]])
            recorded = [outcome.job_id for outcome in (*one, *other) if isinstance(outcome, Recorded)]
            assert sorted(recorded) == ids


class TestATransactionOfOurs:
    def test_an_append_goes_in_after_another_was_rolled_back(self, log, module_database):
        """The driver makes the server forget every prepared statement then, ours among them."""
        with psycopg.connect(module_database, autocommit=True) as connection:
            for _ in range(10):
                connection.execute("select %s::int", [1])  # often enough to be prepared
            append_on(connection, [first(mint())])
            with connection.transaction(force_rollback=True):
                append_on(connection, [first(gone := mint())])
            with connection.transaction():
                [outcome] = append_on(connection, [first(kept := mint())])

        assert isinstance(outcome, Recorded)
        assert log.histories([gone, kept]).keys() == {kept}


class TestTheCallersTransaction:
    def test_a_job_exists_if_it_commits(self, log, stranger):
        job_id = mint()
        append_on(stranger, [first(job_id)])
        stranger.commit()

        assert len(log.history(job_id)) == 1

    def test_a_job_does_not_exist_if_it_rolls_back(self, log, stranger):
        job_id = mint()
        append_on(stranger, [first(job_id)])
        stranger.rollback()

        assert log.history(job_id) == ()

    def test_a_savepoint_is_enough(self, log, stranger):
        kept, dropped = mint(), mint()
        append_on(stranger, [first(kept)])
        with stranger.transaction(force_rollback=True):
            append_on(stranger, [first(dropped)])
        stranger.commit()

        assert set(log.histories([kept, dropped])) == {kept}

    def test_it_sees_its_own_events_and_goes_on_from_them(self, stranger):
        job_id = mint()
        append_on(stranger, [first(job_id)])
        own = histories_on(stranger, [job_id])[job_id]

        [outcome] = append_on(stranger, [following(own, CANCELLED)])

        assert outcome.version == 2

    def test_its_settings_are_left_alone(self, stranger):
        stranger.execute("set local lock_timeout = '1234ms'")
        append_on(stranger, [first(mint())])

        assert stranger.execute("show lock_timeout").fetchone() == ("1234ms",)

    def test_its_own_lock_timeout_is_its_own_affair(self, log, stranger, module_database):
        job_id = mint()
        append_on(stranger, [first(job_id)])
        with psycopg.connect(module_database) as caller:
            caller.execute("set local lock_timeout = '20ms'")
            with pytest.raises(LockNotAvailable):
                append_on(caller, [first(job_id)])

    def test_a_conflict_leaves_it_usable(self, log, stranger):
        job_id = mint()
        log.append([first(job_id)])

        assert append_on(stranger, [first(job_id)]) == [Conflict(job_id, 1)]
        assert stranger.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize(
    "event",
    [
        Failed("E", "a\x00b"),
        Succeeded(1.0, b'{"a":"\\u0000"}'),
        Succeeded(1.0, b'{"a":"\\ud800"}'),
        Succeeded(1.0, b"{"),
    ],
    ids=["NUL in a message", "NUL in a result", "lone surrogate", "not JSON"],
)
def test_what_postgres_cannot_keep_is_refused_whole(log, event):
    """Whoever makes events must not let such text through: it would take a batch of other outcomes with it."""
    job_id = mint()
    log.append([first(job_id)])

    with pytest.raises((psycopg.DataError, ValueError)):
        log.append([first(mint()), following(log.history(job_id), event)])

    assert len(log.history(job_id)) == 1


@pytest.mark.parametrize("how", ["by the environment", "by the URL"])
def test_whatever_encoding_is_asked_for_words_are_kept(log, module_database, monkeypatch, how):
    url = module_database
    if how == "by the URL":
        url += ("&" if "?" in url else "?") + "client_encoding=latin1"
    else:
        monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    database = Database(url)
    job_id = mint()
    try:
        there = PostgresLog(database)
        there.append([replace(first(job_id), actor="\u00e9t\u00e9")])
        [history] = there.lease([Lease(job_id, 1, "n")], "\u00e9")
    finally:
        database.close()
    monkeypatch.undo()
    assert [entry.actor for entry in log.history(job_id)] == ["\u00e9t\u00e9", "worker:\u00e9"]
    assert history == log.history(job_id)


def test_the_clock_is_the_databases(log, module_database):
    with psycopg.connect(module_database) as connection:
        before = connection.execute("select clock_timestamp()").fetchone()[0]
        now = log.clock.now()
        after = connection.execute("select clock_timestamp()").fetchone()[0]

    margin = (after - before) + (after - before)
    assert before - margin <= now <= after + margin
