"""Every read model is the log, folded: whatever jobs did, however the log was cut, whoever committed late."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_projections import cursors, engine
from ledger_projections.builtin import PROJECTIONS
from ledger_projections.engine import Engine
from ledger_projections.projection import Batch

from ledger.events import Priority
from ledger.runtime.database import Database
from tests.support.legal_histories import Jobs, steps_of_time, submissions
from tests.support.read_models import covers, last_position, read_cursor, read_log, read_tables, write
from tests.support.reference import read_models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from ledger.events import Entry

pytestmark = pytest.mark.heavy

_which = st.integers(0, 7)
_choices = st.lists(st.integers(0, 59), min_size=1, max_size=12)

_openings = st.tuples(
    submissions, st.sampled_from(["mail", "reports"]), st.sampled_from(Priority), st.sampled_from([None, "order-7"])
)
_life = st.tuples(st.just("live"), _which, _choices, steps_of_time)
_actions = st.one_of(
    st.tuples(st.just("open"), _openings),
    *[_life] * 3,
    st.tuples(st.just("hold"), _which, _choices),
    st.tuples(st.just("hold_open"), _openings),
    st.tuples(st.just("release"), st.booleans()),
    *[st.tuples(st.just("turn"), st.integers(1, 12))] * 2,
)


@dataclass
class Run:
    """A log being written by several transactions at once, and the engines that read it meanwhile."""

    database: Database
    connection: psycopg.Connection
    jobs: Jobs = field(default_factory=Jobs)
    held: list[tuple[psycopg.Connection, list[Entry]]] = field(default_factory=list)
    start: int = 0

    def perform(self, action: tuple) -> None:
        getattr(self, action[0])(*action[1:])

    def open(self, opening: tuple) -> None:
        write(self.connection, self.jobs.open(*opening))

    def live(self, which: int, choices: list[int], pace: timedelta) -> None:
        """Let a job do one thing after another."""
        write(self.connection, self._steps(which, choices, pace))

    def hold(self, which: int, choices: list[int]) -> None:
        """Let a job do several things in a transaction that stays open."""
        self._hold(self._steps(which, choices, timedelta(milliseconds=3)))

    def hold_open(self, opening: tuple) -> None:
        self._hold(self.jobs.open(*opening))

    def release(self, commit: bool) -> None:
        """End the oldest open transaction."""
        if not self.held:
            return
        connection, entries = self.held.pop(0)
        if commit:
            connection.commit()
        else:
            connection.rollback()
            self.jobs.forget(entries)
        connection.close()

    def turn(self, limit: int) -> bool:
        """Turn every engine once, compare, and say whether there may be more."""
        more = [Engine(self.database, projection, batch_size=limit).run_once() for projection in PROJECTIONS]
        self.check()
        return any(more)

    def check(self) -> None:
        log = read_log(self.connection, self.start)
        for projection in PROJECTIONS:
            seen = read_cursor(self.connection, projection.name)
            expected = read_models(entry for entry in log if covers(seen, entry))
            rows = read_tables(self.connection, projection.tables)
            assert rows == {name: expected[name] for name in projection.tables}

    def finish(self) -> None:
        while self.held:
            self.release(commit=True)

    def _hold(self, entries: list[Entry]) -> None:
        if entries:
            connection = psycopg.connect(self.database.url)
            write(connection, entries)
            self.held.append((connection, entries))

    def _steps(self, which: int, choices: list[int], pace: timedelta) -> list[Entry]:
        entries: list[Entry] = []
        if job_id := self._free_job(which):
            for choice in choices:
                self.jobs.now += pace
                entries += self.jobs.step(job_id, choice)
        return entries

    def _free_job(self, which: int) -> UUID | None:
        """Return a job that no open transaction has changed: its next event could not be written."""
        taken = {entry.job_id for _, entries in self.held for entry in entries}
        free = [job_id for job_id in self.jobs.histories if job_id not in taken]
        return free[which % len(free)] if free else None


@pytest.fixture
def begin(database: str) -> Iterator[Callable]:
    """Give each example empty read models and a log that begins where the last one ended."""
    with closing(Database(database, size=3)) as pool, psycopg.connect(database, autocommit=True) as connection:

        @contextmanager
        def run() -> Iterator[Run]:
            start = last_position(connection)
            with connection.transaction():
                for projection in PROJECTIONS:
                    engine.reset(connection, projection, "live")
                    cursors.create(connection, projection.name, "live", projection.version, start)
            current = Run(pool, connection, start=start)
            try:
                yield current
            finally:
                current.finish()

        yield run


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(program=st.lists(_actions, min_size=8, max_size=40), limit=st.integers(2, 40))
def test_t14_d02_at_every_cursor_the_rows_are_those_of_the_events_read(begin, program, limit):
    with begin() as run:
        for action in program:
            run.perform(action)
        run.finish()
        while run.turn(limit):
            pass
        assert read_cursor(run.connection, "jobs").high == last_position(run.connection)
        assert run.connection.execute("select count(*) from ledger.parked").fetchone() == (0,)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(opening=_openings, choices=st.lists(st.integers(0, 59), min_size=8, max_size=20), pace=steps_of_time)
def test_the_rows_are_right_after_each_single_event(begin, opening, choices, pace):
    with begin() as run:
        run.open(opening)
        run.live(0, choices, pace)
        while run.turn(1):
            pass


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    program=st.lists(st.one_of(st.tuples(st.just("open"), _openings), *[_life] * 3), min_size=4, max_size=25),
    cuts=st.lists(st.integers(1, 200), max_size=12),
    everywhere=st.booleans(),
)
def test_any_cut_of_the_log_leads_to_the_same_rows(begin, program, cuts, everywhere):
    with begin() as run:
        for action in program:
            run.perform(action)
        end = last_position(run.connection)
        places = range(run.start, end) if everywhere else [min(run.start + cut, end) for cut in cuts]
        bounds = sorted({run.start, *places, end})
        expected = read_models(read_log(run.connection, run.start))
        with run.connection.transaction():
            for projections in (*((each,) for each in PROJECTIONS), PROJECTIONS):  # each alone, and all together
                for projection in projections:
                    engine.reset(run.connection, projection, "next")
                engine.enter(run.connection, "ledger_next")
                for low, high in pairwise(bounds):
                    engine.apply(run.connection, projections, "next", Batch(low, high))
                tables = [table for projection in projections for table in projection.tables]
                rows = read_tables(run.connection, tables, "ledger_next")
                assert rows == {name: expected[name] for name in tables}
        assert run.connection.execute("select count(*) from ledger.parked").fetchone() == (0,)
