"""The plans of what writes and reads the log: by its key, however large it has become, and in one partition only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from ledger_projections.projection import LOWEST

from ledger.runtime.statements import statement
from tests.plans.test_projection_plans import filled, plan, scanned  # noqa: F401 — a fixture

if TYPE_CHECKING:
    import psycopg


@pytest.fixture
def job_id(filled: psycopg.Connection) -> Any:  # noqa: F811
    row = filled.execute("select job_id from ledger.events where version = 1 order by 1 offset 99 limit 1").fetchone()
    assert row is not None
    return row[0]


def test_a_history_is_one_look_into_one_partition(filled, job_id):  # noqa: F811
    sql = statement("ledger", "select_histories")
    row = filled.execute(
        b"explain (analyze, format json) " + sql, {"job_ids": orjson.dumps([job_id]).decode()}
    ).fetchone()
    pending, touched = [row[0][0]["Plan"]], []
    while pending:
        node = pending.pop()
        pending += node.get("Plans", ())
        if node["Actual Loops"] > 0 and node.get("Relation Name", "").startswith("events_"):
            touched.append(node)
    assert len({node["Relation Name"] for node in touched}) == 1
    assert "Seq Scan" not in {node["Node Type"] for node in touched}


def test_appends_and_leases_look_up_their_predecessors_by_key(filled, job_id):  # noqa: F811
    head = {"n": 0, "follows": False, "job_id": job_id, "version": 5, "kind": "discarded", "queue": "q", "priority": 1}
    rows = [head | {"actor": "test", "data": {}, "after_kind": "dead_lettered"}]
    lease = [{"job_id": job_id, "version": 1, "nonce": "n"}]
    for name, parameters in (
        ("append_events", {"rows": orjson.dumps(rows).decode(), "lock_timeout": "1s"}),
        ("lease_jobs", {"leases": orjson.dumps(lease).decode(), "worker_id": "w", "lock_timeout": "1s"}),
    ):
        nodes = plan(filled, statement("ledger", name), parameters)
        used = {node["Index Name"] for node in nodes if node.get("Index Name", "").startswith("events_")}
        assert used, name
        assert all(index.endswith("_pkey") for index in used), name
        assert scanned(nodes) == set()


@pytest.mark.parametrize(
    ("name", "index"),
    [("select_due", "jobs_due"), ("select_expired", "jobs_expiring")],
)
def test_what_time_brings_is_found_by_its_index(filled, name, index):  # noqa: F811
    page = {"after_at": datetime(2000, 1, 1, tzinfo=UTC), "after_id": LOWEST, "limit": 100}
    nodes = plan(filled, statement("ledger_scheduler", name), page)
    assert index in {node.get("Index Name") for node in nodes}
    assert scanned(nodes) == set()
