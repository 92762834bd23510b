"""The plans of what projections do every turn: by index, however large the log and the read models have become."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from ledger_projections import engine
from ledger_projections.builtin import PROJECTIONS
from ledger_projections.engine import Engine
from ledger_projections.projection import Batch

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


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def test_d56_a_fold_reads_its_batch_and_looks_up_the_rest_by_key(filled):
    for batch in (Batch(23_000, 23_200), Batch(23_000, 23_200, late=(17, 18))):
        with filled.transaction():
            engine.enter(filled, "ledger_read")
            for projection in PROJECTIONS:
                for fold in projection.folds:
                    assert scanned(plan(filled, fold, batch.parameters())) == set(), projection.name


def test_d56_a_cursor_reads_positions_from_the_index_alone(filled):
    window = plan(filled, statement("ledger_projections", "read_window"), {"high": 23_000, "limit": 100})
    late = plan(filled, statement("ledger_projections", "read_late"), {"holes": "{[5,6),[9,12)}", "limit": 100})
    for nodes in (window, late):
        reads = {node["Node Type"] for node in nodes if "Relation Name" in node and node["Plan Rows"] > 1}
        assert reads <= {"Index Only Scan"}
        assert scanned(nodes) == set()
