"""The plans of what projections do every turn: by index, however large the log and the read models have become."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from ledger_projections import cursors, engine
from ledger_projections.builtin import PROJECTIONS
from ledger_projections.engine import Engine
from ledger_projections.filters import ExecutionFilter, JobFilter
from ledger_projections.paging import Place
from ledger_projections.projection import HIGHEST, LOWEST, Batch, folding, folding_lives
from ledger_projections.selects import compiled, ordered_attempts, ordered_jobs

from ledger.cursor import Cursor
from ledger.events import Priority
from ledger.runtime.database import Database
from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from collections.abc import Iterator

FILL = """
with jobs as (
  select n, (
    lpad(to_hex((extract(epoch from now()) * 1000)::bigint + n / 10), 12, '0')
    || '7' || lpad(to_hex(n % 10), 3, '0') || '8' || lpad(to_hex(n), 15, '0')
  )::uuid as job_id
  from generate_series(1, 6000) as n
)
insert into ledger.events (job_id, version, kind, queue, priority, actor, data)
select j.job_id, s.version, s.kind::ledger.event_kind, 'q' || j.n % 3, 2, 'test', s.data::json
from jobs j
cross join (
  values
    (1, 'enqueued', '{"type": "email.send", "max_retries": 0}'),
    (2, 'leased', '{"worker_id": "w", "attempt": 1, "nonce": "n"}'),
    (3, 'failed', '{"error_type": "ValueError", "error_message": "no", "duration_ms": 1}'),
    (4, 'dead_lettered', '{"reason": "permanent", "retry_count": 0, "crash_count": 0}')
) as s (version, kind, data)
order by s.version, j.n
"""
"""A log in which no job begins and ends in one batch, so that every fold has to look up what it does not bring."""


@pytest.fixture
def filled(database: str) -> Iterator[psycopg.Connection]:
    with closing(Database(database, size=1)) as pool, psycopg.connect(database, autocommit=True) as connection:
        connection.execute(FILL)
        for projection in PROJECTIONS:
            reader = Engine(pool, projection)
            reader.prepare()
            while reader.run_once():
                pass
        connection.execute("analyze")
        yield connection


def plan(connection: psycopg.Connection, sql: bytes, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the nodes of the plan."""
    row = connection.execute(b"explain (format json) " + sql, parameters, prepare=False).fetchone()
    assert row is not None
    return list(_nodes(row[0][0]["Plan"]))


def scanned(nodes: list[dict[str, Any]]) -> set[str]:
    """Return the tables that are read from end to end, but for partitions with nothing in them."""
    return {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan" and node["Plan Rows"] > 1}


FOLDS = [*((projection.fold,) for projection in PROJECTIONS), tuple(projection.fold for projection in PROJECTIONS)]
"""Each alone, and all together."""


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def test_d56_a_fold_reads_its_batch_and_looks_up_the_rest_by_key(filled):
    for batch in (Batch(23_000, 23_200), Batch(23_000, 23_200, late=(17, 18))):
        with filled.transaction():
            engine.enter(filled, "ledger_read")
            for folds in FOLDS:
                assert scanned(plan(filled, folding(folds), batch.parameters())) == set(), folds


def test_d56_a_cursor_reads_positions_from_the_index_alone(filled):
    window = plan(filled, statement("ledger_projections", "read_window"), {"high": 23_000, "limit": 100})
    late = plan(filled, statement("ledger_projections", "read_late"), {"holes": "{[5,6),[9,12)}", "limit": 100})
    for nodes in (window, late):
        reads = {node["Node Type"] for node in nodes if "Relation Name" in node and node["Plan Rows"] > 1}
        assert reads <= {"Index Only Scan"}
        assert scanned(nodes) == set()


def test_a_rebuild_reads_whole_lives_by_the_key(filled):
    """By position it would read the whole partition for each batch, and with a hash join all jobs there are."""
    ids = [job_id for (job_id,) in filled.execute("select job_id from ledger.events where version = 1 order by 1")]
    batch = Batch(0, 24_000, born_from=ids[100], born_to=ids[160])
    with filled.transaction():
        engine.enter(filled, "ledger_read")
        for folds in FOLDS:
            nodes = plan(filled, folding_lives(folds), batch.parameters())
            read = {node["Index Name"] for node in nodes if node.get("Relation Name", "").startswith("events_")}
            assert read, folds
            assert all(name.endswith("_pkey") for name in read), (folds, read)
            assert {node["Node Type"] for node in nodes}.isdisjoint({"Hash Join", "Merge Join"})
            assert scanned(nodes) == set()


def test_where_a_batch_of_a_rebuild_ends_is_told_by_the_key_alone(filled):
    bounds = {"born_from": LOWEST, "born_to": HIGHEST, "limit": 500}
    nodes = plan(filled, statement("ledger_projections", "rebuild/read_share"), bounds)
    assert {node["Node Type"] for node in nodes if "Relation Name" in node} == {"Index Only Scan"}


def test_of_several_states_each_is_read_in_order(filled):
    for oldest_first in (False, True):
        for after in (None, Place(datetime.now(UTC), HIGHEST)):
            filters = JobFilter(states=("dead", "ready"), oldest_first=oldest_first)
            nodes = plan(filled, *compiled(ordered_jobs(filters, after, 11)))
            reads = [node for node in nodes if "Relation Name" in node]
            assert [node.get("Index Name") for node in reads] == ["jobs_by_state"] * 2
            assert all(node["Plan Rows"] <= 11 for node in nodes if node["Node Type"] == "Sort")


def test_what_is_rare_is_found_by_its_index(filled):
    for filters, index in (
        (JobFilter(priorities=(Priority.CRITICAL,)), "job_births_by_priority"),
        (JobFilter(correlation_id="order-7"), "job_births_by_correlation"),
        (JobFilter(types=("never.seen",)), "job_births_by_type"),
        (JobFilter(queues=("never-used",)), "job_births_by_queue"),
    ):
        nodes = plan(filled, *compiled(ordered_jobs(filters, None, 11)))
        assert index in {node.get("Index Name") for node in nodes}, filters
        assert scanned(nodes) == set()
    for filters, index in (
        (ExecutionFilter(types=("never.seen",)), "job_births_by_type"),
        (ExecutionFilter(worker_id="nobody"), "attempts_by_worker"),
        (ExecutionFilter(states=("crashed",)), "attempts_by_state"),
    ):
        nodes = plan(filled, *compiled(ordered_attempts(filters, None).limit(11)))
        assert index in {node.get("Index Name") for node in nodes}, filters
        assert scanned(nodes) == set()


def test_statistics_read_the_minutes_of_their_window_and_count_nothing(filled):
    window = {"queue": "q1", "window": timedelta(hours=1)}
    with filled.transaction():
        filled.execute("set local enable_seqscan = off")  # the tables are small here
        for name in ("select_queue_window", "select_queue_histograms"):
            nodes = plan(filled, statement("ledger_projections", f"queries/{name}"), window)
            assert any("minute >" in node.get("Index Cond", "") for node in nodes), name
        nodes = plan(filled, statement("ledger_projections", "queries/select_stats"), {})
    assert any("minute >" in node.get("Index Cond", "") for node in nodes)
    assert {node["Relation Name"] for node in nodes if "Relation Name" in node} == {"attempt_minutes", "queue_counts"}


def test_under_a_snapshot_held_open_a_turn_finds_its_cursor_where_the_last_one_left_it(filled, database):
    """A look-up by key goes through the former versions of the row, which cannot be removed: one a turn."""

    def blocks(marks: cursors.Marks) -> int:
        wanted = {"projections": ["jobs"], "generation": "live", "lock_wait": None, "marks": [marks.get("jobs")]}
        explain = b"explain (analyze, buffers, format json) " + statement("ledger_projections", "take_turn")
        row = filled.execute(explain, wanted, prepare=False).fetchone()
        return row[0][0]["Plan"]["Shared Hit Blocks"]

    with psycopg.connect(database) as holder:
        holder.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        holder.execute("select from ledger.cursors")
        marks: cursors.Marks = {}
        for _ in range(2000):
            with filled.transaction():
                turn = cursors.take(filled, "jobs", "live", marks)
                assert turn is not None
                moved = Cursor(turn.cursor.high + 1, turn.cursor.old, turn.cursor.young)
                marks = cursors.move(filled, turn, moved)
        found, looked_for = blocks(marks), blocks({})
        assert found * 3 < looked_for, (found, looked_for)
        wrong = {"jobs": "(0,1)"}  # of another version of the row, or of another row
        with filled.transaction():
            assert cursors.take(filled, "jobs", "live", wrong) == cursors.take(filled, "jobs", "live", marks)
