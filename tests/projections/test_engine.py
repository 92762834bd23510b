"""The engine: rows and cursor together, poison set aside, nothing read twice, nothing missed."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import psycopg
import pytest
from ledger_projections import cursors, engine, parked
from ledger_projections.builtin import PROJECTIONS
from ledger_projections.engine import Engine
from ledger_projections.jobs import JOBS
from ledger_projections.projection import Batch, Projection
from psycopg.errors import SerializationFailure, UndefinedFunction
from structlog.testing import capture_logs

from ledger.ids import mint
from ledger.runtime.database import Database
from tests.support.read_models import last_position, read_cursor, read_log, read_tables
from tests.support.reference import read_models

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

NOTES = Projection(
    name="notes",
    version=1,
    tables=("notes",),
    create=b"""
    create table if not exists notes (
      noted bigint generated always as identity, position bigint, job_id uuid, version int
    )
    """,
    fold=b"""
    notes_taken as (
      insert into notes (position, job_id, version)
      select e.position, e.job_id, e.version
      from batch e
      where coalesce((e.data ->> 'number')::int, 1) = 1
      order by e.position
    )
    """,
)
"""Notes every event it is given, as often as it is given, in this order; chokes on a number that is none."""

COPIES = replace(
    NOTES,
    name="copies",
    tables=("copies",),
    create=b"create table if not exists copies (noted bigint generated always as identity, position bigint)",
    fold=b"copies_made as (insert into copies (position) select e.position from batch e order by e.position)",
)
"""Notes every event too, and chokes on none."""

GOOD = '{"number": "1"}'
POISON = '{"number": "one"}'


@pytest.fixture
def pool(database: str) -> Iterator[Database]:
    with closing(Database(database, size=8)) as pool:
        yield pool


@pytest.fixture
def log(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def notes(pool: Database) -> Engine:
    notes = Engine(pool, NOTES)
    notes.prepare()
    return notes


def add(connection: psycopg.Connection, job_id: UUID, version: int = 1, data: str = GOOD) -> int:
    """Append one event without asking the rules, and return its position."""
    row = connection.execute(
        """
        insert into ledger.events (job_id, version, kind, queue, priority, actor, data)
        values (%s, %s, 'enqueued', 'mail', 2, 'test', %s::json) returning position
        """,
        [job_id, version, data],
    ).fetchone()
    assert row is not None
    return row[0]


def noted(connection: psycopg.Connection, schema: str = "ledger_read", table: str = "notes") -> list[int]:
    """Return the positions noted, in the order in which that happened."""
    return [position for (position,) in connection.execute(f"select position from {schema}.{table} order by noted")]


def drain(engine: Engine) -> None:
    while engine.run_once():
        pass


def forgets_its_holes(notes: Engine, connection: psycopg.Connection) -> bool:
    """Turn until no hole is left: whoever else is writing in this cluster, also for another test, has to end first."""
    deadline, pause = time.monotonic() + 60, threading.Event()
    while read_cursor(connection, "notes").hole_count and time.monotonic() < deadline:
        notes.run_once()
        pause.wait(0.01)
    return read_cursor(connection, "notes").hole_count == 0


def test_a_turn_folds_what_is_new_and_says_whether_there_may_be_more(log, pool, notes):
    positions = [add(log, mint()) for _ in range(5)]
    small = Engine(pool, NOTES, batch_size=2)
    assert [small.run_once(), small.run_once(), small.run_once(), small.run_once()] == [True, True, False, False]
    assert noted(log) == positions


def test_an_idle_turn_writes_nothing(log, notes):
    add(log, mint())
    drain(notes)
    before = log.execute("select xmin, moved_at from ledger.cursors").fetchall()
    assert notes.run_once() is False
    assert log.execute("select xmin, moved_at from ledger.cursors").fetchall() == before


def test_rows_and_cursor_move_together_or_not_at_all(log, pool, notes):
    positions = [add(log, mint()) for _ in range(3)]
    broken = replace(NOTES, fold=NOTES.fold + b", notes_broken as (select no_such_function())")
    with pytest.raises(UndefinedFunction):
        Engine(pool, broken).run_once()
    assert noted(log) == []
    assert read_cursor(log, "notes").high == 0
    assert parked_jobs(log) == [], "a bug of ours is no fault of the event"
    drain(notes)
    assert noted(log) == positions


def test_a_poison_event_is_parked_with_its_jobs_later_events_and_the_rest_goes_on(log, notes):
    bad, good = mint(), mint()
    first, _, poison = add(log, bad), add(log, good), add(log, bad, 2, POISON)
    add(log, bad, 3)
    last = add(log, good, 2)
    drain(notes)
    assert noted(log) == [first, first + 1, last]
    assert read_cursor(log, "notes").high == last
    [(job_id, position, error)] = parked_jobs(log)
    assert (job_id, position) == (bad, poison)
    assert "invalid input syntax" in error
    add(log, bad, 4, POISON)
    after = add(log, good, 3)
    drain(notes)
    assert noted(log)[-1] == after
    assert len(noted(log)) == 4
    assert len(parked_jobs(log)) == 1


def test_what_is_poison_to_one_read_model_is_parked_for_that_one_only(log, pool):
    both = Engine(pool, NOTES, COPIES)
    both.prepare()
    bad = mint()
    first, poison = add(log, mint()), add(log, bad, 1, POISON)
    drain(both)
    after, last = add(log, bad, 2), add(log, mint())
    drain(both)
    assert noted(log) == [first, last]
    assert noted(log, table="copies") == [first, poison, after, last]
    assert log.execute("select projection, job_id from ledger.parked").fetchall() == [("notes", bad)]


@pytest.mark.parametrize(
    ("trouble", "end"),
    [
        ("alter table ledger_read.notes rename to lost", "alter table ledger_read.lost rename to notes"),
        ("create index trouble on ledger_read.notes (repeat(job_id::text, 100000))", "drop index ledger_read.trouble"),
        ("begin; lock table ledger_read.notes", "commit"),
    ],
    ids=["a bug", "a limit of the server", "a lock"],
)
def test_a_read_model_that_cannot_be_folded_stops_no_other_and_comes_back(
    database, log, pool, monkeypatch, trouble, end
):
    monkeypatch.setattr(engine, "REST", 0.0)
    both = Engine(pool, NOTES, COPIES)
    both.prepare()
    positions = [add(log, mint())]
    with (
        capture_logs() as lines,
        psycopg.connect(database, autocommit=True) as troubler,
        ThreadPoolExecutor() as thread,
    ):
        troubler.execute(trouble)
        try:
            for _ in range(3):
                thread.submit(drain, both).result(30)
                assert noted(log, table="copies") == positions
                positions.append(add(log, mint()))
        finally:
            troubler.execute(end)
        drain(both)
    assert noted(log) == noted(log, table="copies") == positions
    assert parked_jobs(log) == []
    assert [(line["event"], line["service"]) for line in lines] == [
        ("read model cannot be folded, the others go on", "projection notes"),
        ("read model is folded again", "projection notes"),
    ]


def test_where_no_read_model_can_be_folded_the_turn_fails(log, pool):
    both = Engine(pool, NOTES, COPIES)
    both.prepare()
    log.execute("drop table ledger_read.notes, ledger_read.copies")
    add(log, mint())
    for _ in range(2):
        with pytest.raises(psycopg.ProgrammingError):
            both.run_once()


@pytest.mark.parametrize("count", [1, 2, 7, 33])
def test_every_poison_event_of_a_batch_is_found(log, notes, count):
    good = [add(log, mint()) for _ in range(count)]
    bad = [add(log, mint(), 1, POISON) for _ in range(count)]
    good += [add(log, mint()) for _ in range(count)]
    drain(notes)
    assert noted(log) == good
    assert [position for _, position, _ in parked_jobs(log)] == bad


def test_a_poison_event_that_comes_late_is_parked_too(database, log, notes):
    late = mint()
    with psycopg.connect(database) as writer:
        add(writer, late)
        poison = add(writer, late, 2, POISON)
        ahead = add(log, mint())
        drain(notes)
        writer.commit()
    behind = add(log, mint())
    drain(notes)
    assert noted(log) == [ahead, poison - 1, behind]
    assert [position for _, position, _ in parked_jobs(log)] == [poison]


def test_the_next_generation_parks_for_itself(log, pool, notes):
    bad = mint()
    add(log, bad, 1, POISON)
    drain(notes)
    following = Engine(pool, NOTES, generation="next")
    following.prepare()
    with pool.connection() as connection:
        assert parked.jobs(connection, "notes", "next") == ()
        drain(following)
        assert parked.jobs(connection, "notes", "next") == (bad,)
        parked.clear(connection, "notes", "live")
        parked.promote(connection, "notes")
        assert parked.jobs(connection, "notes", "live") == (bad,)
        assert parked.jobs(connection, "notes", "next") == ()


def test_an_open_transaction_holds_nothing_up_and_is_read_when_it_commits(database, log, notes):
    with psycopg.connect(database) as writer:
        slow = add(writer, mint())
        fast = add(log, mint())
        drain(notes)
        assert noted(log) == [fast]
        assert read_cursor(log, "notes").holes == ((slow, slow + 1),)
        writer.commit()
    drain(notes)
    assert noted(log) == [fast, slow]
    assert read_cursor(log, "notes").hole_count == 0


def test_what_was_rolled_back_is_forgotten(database, log, notes):
    with psycopg.connect(database) as writer:
        add(writer, mint())
        fast = add(log, mint())
        drain(notes)
        assert read_cursor(log, "notes").hole_count == 1
        writer.rollback()
    assert forgets_its_holes(notes, log)
    assert noted(log) == [fast]


def test_more_late_events_than_a_turn_may_read_are_read_over_several(database, log, pool, notes):
    with psycopg.connect(database) as writer:
        slow = [add(writer, mint()) for _ in range(10)]
        fast = add(log, mint())
        drain(notes)
        writer.commit()
    newest = add(log, mint())
    drain(Engine(pool, NOTES, batch_size=3))
    assert noted(log) == [fast, *slow, newest]
    assert read_cursor(log, "notes").hole_count == 0


@pytest.mark.parametrize("horizon", [1, 1 << 60], ids=["long passed", "never passed"])
def test_horizons_of_another_cluster_are_taken_again(database, log, notes, horizon):
    """After a restore xids begin elsewhere: holes must be neither forgotten early nor kept for ever."""
    with psycopg.connect(database) as writer:
        slow = add(writer, mint())
        fast = add(log, mint())
        drain(notes)
        log.execute(
            "update ledger.cursors set origin = 'another/00000001', old_horizon = %s, young_horizon = %s",
            [horizon, horizon],
        )
        for _ in range(3):
            notes.run_once()
        assert read_cursor(log, "notes").holes == ((slow, slow + 1),)
        writer.commit()
    drain(notes)
    assert noted(log) == [fast, slow]
    with psycopg.connect(database) as writer:
        add(writer, mint())
        add(log, mint())
        drain(notes)
        writer.rollback()
    assert forgets_its_holes(notes, log)


def test_an_engine_stands_by_while_another_has_the_turn(database, log, notes):
    position = add(log, mint())
    with psycopg.connect(database) as other:
        cursors.begin(other)
        assert cursors.take(other, "notes", "live") is not None
        assert notes.run_once() is False
        assert noted(log) == []
    assert notes.run_once() is False
    assert noted(log) == [position]


def test_a_projector_that_was_overtaken_cannot_move_the_cursor(database, log, notes):
    add(log, mint())
    with psycopg.connect(database) as stale:
        cursors.begin(stale)
        stale.execute("select")  # its snapshot is from before the other one's turn
        drain(notes)
        turn = cursors.take(stale, "notes", "live")
        assert turn is not None
        seen = cursors.read(stale, turn.cursor, 10)
        assert seen.count == 1
        with pytest.raises(SerializationFailure):
            cursors.move(stale, turn, cursors.after(stale, turn.cursor, seen))


def test_the_cursor_moves_only_from_where_it_was_read(log, pool, notes):
    """The fence itself, without the help of the isolation level."""
    add(log, mint())
    with pool.connection() as connection:
        turn = cursors.take(connection, "notes", "live")
        assert turn is not None
        seen = cursors.read(connection, turn.cursor, 10)
        drain(notes)
        with pytest.raises(cursors.Overtaken):
            cursors.move(connection, turn, cursors.after(connection, turn.cursor, seen))


@pytest.mark.heavy
def test_engines_at_once_count_nothing_twice_and_miss_nothing(database, log, pool):
    """Three projectors, four writers with slow commits and rollbacks; every event exactly once, in version order."""
    Engine(pool, NOTES).prepare()
    done = threading.Event()
    committed: list[int] = []

    def write_some(number: int) -> None:
        with psycopg.connect(database) as writer:
            for turn in range(40):
                job_id = mint()
                positions = [add(writer, job_id, version) for version in range(1, 2 + turn % 3)]
                if (number + turn) % 5 == 0:
                    writer.rollback()
                else:
                    writer.commit()
                    committed.extend(positions)

    def read_all(number: int) -> None:
        reader = Engine(pool, NOTES, batch_size=1 + number * 7)
        while not done.is_set():
            reader.run_once()

    with ThreadPoolExecutor(7) as threads:
        readers = [threads.submit(read_all, number) for number in range(3)]
        writers = [threads.submit(write_some, number) for number in range(4)]
        try:
            for writer in writers:
                writer.result(60)
        finally:
            done.set()
        for reader in readers:
            reader.result(60)
    drain(Engine(pool, NOTES))
    assert sorted(noted(log)) == sorted(committed)
    order: dict[UUID, int] = {}
    for job_id, version in log.execute("select job_id, version from ledger_read.notes order by noted"):
        assert version == order.get(job_id, 0) + 1
        order[job_id] = version


def test_several_processes_may_prepare_at_once(database, log, pool):
    barrier = threading.Barrier(6)

    def prepare(number: int) -> None:
        barrier.wait(10)
        for projection in PROJECTIONS:
            Engine(pool, projection).prepare()

    with ThreadPoolExecutor(6) as threads:
        for prepared in [threads.submit(prepare, number) for number in range(6)]:
            prepared.result(60)
    assert log.execute("select count(*) from ledger.cursors").fetchone() == (len(PROJECTIONS),)


def test_preparing_again_changes_nothing(log, notes):
    position = add(log, mint())
    drain(notes)
    notes.prepare()
    drain(notes)
    assert noted(log) == [position]


def test_a_read_model_without_its_tables_begins_anew(log, notes):
    positions = [add(log, mint()), add(log, mint(), 1, POISON), add(log, mint())]
    drain(notes)
    log.execute("drop table ledger_read.notes")
    notes.prepare()
    drain(notes)
    assert noted(log) == [positions[0], positions[2]]


def test_rows_without_a_cursor_begin_anew(log, notes):
    position = add(log, mint())
    drain(notes)
    log.execute("delete from ledger.cursors")
    notes.prepare()
    drain(notes)
    assert noted(log) == [position]


def test_what_another_version_fills_is_left_alone(log, pool, notes):
    position = add(log, mint())
    drain(notes)
    newer = Engine(pool, replace(NOTES, version=2, tables=("notes", "more_notes")))
    newer.prepare()
    add(log, mint())
    assert newer.run_once() is False
    assert noted(log) == [position]


def test_generations_are_filled_apart(log, pool, notes):
    position = add(log, mint())
    following = Engine(pool, NOTES, generation="next")
    following.prepare()
    drain(following)
    assert (noted(log), noted(log, "ledger_next")) == ([], [position])


def test_a_job_without_its_first_event_is_parked_not_half_told(log, pool):
    jobs = Engine(pool, JOBS)
    jobs.prepare()
    orphan = mint()
    add(log, orphan, 2)
    drain(jobs)
    assert read_tables(log, ["jobs"]) == {"jobs": []}
    assert [job_id for job_id, _, _ in parked_jobs(log)] == [orphan]


def test_large_payloads_are_not_copied_to_temporary_files(log, pool):
    """They lie apart from their rows, and a fold has no need of them."""
    for projection in PROJECTIONS:
        Engine(pool, projection).prepare()
    payload = Random(1).randbytes(500_000).hex()
    for _ in range(10):
        add(log, mint(), 1, f'{{"type": "t", "max_retries": 3, "payload": "{payload}"}}')
    with pool.connection() as connection:
        with connection.transaction():
            engine.enter(connection, "ledger_read")
            engine.apply(connection, PROJECTIONS, "live", Batch(0, last_position(log)))
        connection.execute("select pg_stat_force_next_flush()")
    spilled = "select temp_bytes from pg_stat_database where datname = current_database()"
    assert log.execute(spilled).fetchone() == (0,)
    assert log.execute("select count(*) from ledger_read.jobs").fetchone() == (10,)


def test_an_explicit_batch_can_leave_out_births_holes_and_jobs(log, pool, notes):
    ids = [mint() for _ in range(6)]
    positions = [add(log, job_id) for job_id in ids]
    batch = Batch(
        low=positions[0] - 1,
        high=positions[4],
        holes=((positions[1], positions[2]),),
        born_from=ids[0],
        born_to=ids[4],
    )
    with pool.connection() as connection, connection.transaction():
        engine.enter(connection, "ledger_read")
        parked.park(connection, "notes", "live", positions[2], "cannot be folded")
        engine.apply(connection, [NOTES], "live", batch)
    assert noted(log) == [positions[0], positions[3], positions[4]]


def test_halves_hold_the_same_events_in_order(log, pool, notes):
    positions = [add(log, mint()) for _ in range(9)]
    batch = Batch(positions[3], positions[8], late=tuple(positions[:3]))
    pending, single = [batch], []
    while pending:
        first = pending.pop(0)
        if first.single is not None:
            single.append(first.single)
        else:
            pending = [*first.halves(), *pending]
    assert single == [*positions[:3], *range(positions[3] + 1, positions[8] + 1)]


def test_the_built_in_ones_agree_with_the_log_under_concurrent_writers(log, pool):
    for projection in PROJECTIONS:
        Engine(pool, projection).prepare()
    request = '{"type": "email.send", "max_retries": 3}'
    with ThreadPoolExecutor(4) as threads:
        jobs = [mint() for _ in range(40)]
        list(threads.map(lambda job_id: _write_on(pool, job_id, request), jobs))
        for projection in PROJECTIONS:
            drain(Engine(pool, projection, batch_size=7))
    expected = read_models(read_log(log))
    tables = [table for projection in PROJECTIONS for table in projection.tables]
    assert read_tables(log, tables) == {table: expected[table] for table in tables}
    assert {read_cursor(log, projection.name).high for projection in PROJECTIONS} == {last_position(log)}


def _write_on(pool: Database, job_id: UUID, data: str) -> None:
    with pool.connection() as connection:
        add(connection, job_id, 1, data)


def parked_jobs(connection: psycopg.Connection) -> list[tuple[UUID, int, str]]:
    return connection.execute("select job_id, position, error from ledger.parked order by position").fetchall()


def test_what_the_dispatcher_has_just_learned_need_not_be_asked_again(pool, log, monkeypatch):
    end = cursors.End()
    notes = Engine(pool, NOTES, end=end)
    notes.prepare()
    position = add(log, mint())
    notes.run_once()
    end.tell(position, "the dispatcher")
    monkeypatch.setattr(cursors, "FRESH", 3600.0)
    monkeypatch.setattr(engine, "LOOK_INTERVAL", 3600.0)
    notes._trusted_until = time.monotonic() + 3600
    with monkeypatch.context() as away:
        away.setattr(pool, "connection", None)
        assert notes.run_once() is False
    end.tell(add(log, mint()), "the dispatcher")
    for _ in range(2):
        notes.run_once()
    assert read_cursor(log, "notes").high == last_position(log)


def test_while_the_dispatcher_knows_of_nothing_new_the_engine_rests(pool, log):
    grown: list[bool] = []
    end = cursors.End(lambda: grown.append(notes.rests))
    notes = Engine(pool, NOTES, end=end)
    notes.prepare()
    position = add(log, mint())
    notes.run_once()
    assert not notes.rests
    end.tell(position, "the dispatcher")
    notes.run_once()
    assert notes.rests
    grown.clear()
    end.tell(position, "the dispatcher")
    assert grown == []
    end.tell(add(log, mint()), "the dispatcher")
    assert grown == [True]
    assert notes.run_once() is False
    assert (notes.rests, notes.gathers) == (False, True)
    assert read_cursor(log, "notes").high == position
    notes.run_once()
    assert not notes.gathers
    assert read_cursor(log, "notes").high == last_position(log)


def test_a_turn_says_whether_it_had_much_until_one_finds_little(pool, log, notes, monkeypatch):
    monkeypatch.setattr(engine, "MUCH", 3)
    assert not notes.had_much
    for count, much in ((2, False), (3, True), (0, True), (1, False)):
        for _ in range(count):
            add(log, mint())
        drain(notes)
        assert notes.had_much is much, count


def test_a_cursor_that_was_set_back_behind_our_back_is_noticed(pool, log, notes, monkeypatch):
    monkeypatch.setattr(engine, "LOOK_INTERVAL", 0.0)
    add(log, mint())
    for _ in range(3):
        notes.run_once()
    log.execute("delete from ledger_read.notes")
    log.execute("update ledger.cursors set high = 0 where projection = 'notes'")
    for _ in range(3):
        notes.run_once()
    assert log.execute("select count(*) from ledger_read.notes").fetchone() == (1,)
