"""The plan of every hot statement: by the index it was made for, and no table that grows is read from end to end.

Planned once for all parameters, as Postgres does it for a statement that is used often, and with the parameters known;
while statistics are fresh, and before there are any.
"""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from ledger_projections.builtin import PROJECTIONS
from ledger_projections.engine import Engine, enter
from ledger_projections.filters import DeadLetterFilter, ExecutionFilter, JobFilter
from ledger_projections.projection import HIGHEST, Batch, folding
from ledger_projections.selects import compiled, ordered_attempts, ordered_dead_letters, ordered_jobs
from psycopg import sql

from ledger.events import Priority
from ledger.runtime.database import Database
from ledger.runtime.statements import statement
from tests.plans.hot_statements import NOT_HOT, TURN, statements
from tests.plans.test_projection_plans import FILL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from uuid import UUID

    Nodes = list[dict[str, Any]]

ROOT = Path(__file__).parents[2]
ROOMS = ("ledger", "projections/ledger_projections", "scheduler/ledger_scheduler", "workers/ledger_workers")
GROWING = ("events", "jobs", "job_births", "attempts", "dead_letters", "queue_minutes", "queue_histograms",
           "attempt_minutes", "notes", "idempotency_keys")  # fmt: skip
SMALL = ("api_keys", "audit", "cursors", "idempotency_keys", "notes", "parked", "pauses", "queue_counts",
         "retirements", "schedules", "workers")  # fmt: skip
"""Tables besides the log and the read models that may be read by any index, or by none where they do not grow."""
CASES = {str(case): case for case in statements(HIGHEST)}

MORE = """
with jobs as (
  select n, (
    lpad(to_hex((extract(epoch from now()) * 1000)::bigint + n / 10), 12, '0')
    || '7' || lpad(to_hex(n % 10), 3, '0') || '9' || lpad(to_hex(n), 15, '0')
  )::uuid as job_id
  from generate_series(1, 8000) as n
)
insert into ledger.events (at, job_id, version, kind, queue, priority, actor, data)
select now() - j.n * interval '3 min', j.job_id, s.version, s.kind::ledger.event_kind, 'q' || j.n % 3, 2, 'test',
  replace(s.data, 'w0', 'w' || j.n % 20)::json
from jobs j
join (
  values
    (0, 1, 'enqueued', '{"type": "email.send", "max_retries": 0}'),
    (1, 1, 'enqueued', '{"type": "email.send", "max_retries": 0, "expires_at": "2100-01-01T00:00:00Z"}'),
    (1, 2, 'leased', '{"worker_id": "w0", "attempt": 1, "nonce": "n"}'),
    (2, 1, 'scheduled', '{"type": "email.send", "max_retries": 0, "run_at": "2100-01-01T00:00:00Z"}'),
    (3, 1, 'enqueued', '{"type": "email.send", "max_retries": 0}'),
    (3, 2, 'leased', '{"worker_id": "w0", "attempt": 1, "nonce": "n"}'),
    (3, 3, 'succeeded', '{"duration_ms": 1}')
) as s (remainder, version, kind, data) on j.n % 4 = s.remainder
order by s.version, j.n
"""
"""Beside the dead: jobs that are ready, run, wait for their time and have succeeded, 2,000 of each, over two weeks."""
KEYS = """
insert into ledger.idempotency_keys (key, job_id, fingerprint, created_at)
select 'k' || n, gen_random_uuid(), 'f', now() - n * interval '1 s' from generate_series(1, 60000) as n
"""
NOTES = """
insert into ledger.notes (job_id, lease_version, number, at, message)
select gen_random_uuid(), 2, n % 10 + 1, now(), 'said' from generate_series(1, 60000) as n
"""


@pytest.fixture(scope="module")
def teeming(module_database: str) -> Iterator[psycopg.Connection]:
    """A log and read models with thousands of rows and no statistics; autovacuum gathers none meanwhile."""
    with psycopg.connect(module_database, autocommit=True) as connection, closing(Database(module_database)) as pool:
        engines = [Engine(pool, projection) for projection in PROJECTIONS]
        for engine in engines:
            engine.prepare()
        _forbid_autovacuum(connection)
        connection.execute(FILL)
        connection.execute(MORE)
        connection.execute(KEYS)
        connection.execute(NOTES)
        for engine in engines:
            while engine.run_once():
                pass
        yield connection


@pytest.fixture(scope="module", params=["without statistics", "with statistics"])
def planner(teeming: psycopg.Connection, request: pytest.FixtureRequest) -> psycopg.Connection:
    if request.param == "with statistics":
        teeming.execute("analyze")
    return teeming


@pytest.fixture
def job(teeming: psycopg.Connection) -> UUID:
    (found,) = teeming.execute("select job_id from ledger.events where kind = 'dead_lettered' limit 1").fetchone()
    return found


def _forbid_autovacuum(connection: psycopg.Connection) -> None:
    rows = connection.execute(
        "select oid::regclass::text from pg_class where relkind = 'r' and relnamespace in"
        " ('ledger'::regnamespace, 'ledger_read'::regnamespace)"
    )
    for (table,) in rows.fetchall():
        connection.execute(f"alter table {table} set (autovacuum_enabled = off)")


def plans(
    connection: psycopg.Connection,
    query: bytes,
    parameters: Mapping[str, Any],
    settings: Sequence[str] = (),
    modes: Sequence[str] = ("force_generic_plan", "force_custom_plan"),
) -> Iterator[Nodes]:
    """Return the plan for any parameters, and the one for these; `auto`: which Postgres keeps after some uses."""
    names: list[str] = []

    def numbered(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    text = re.sub(r"%%|%\((\w+)\)s", numbered, query.decode())
    given = sql.SQL(", ").join(sql.Literal(parameters[name]) for name in names)
    for mode in modes:
        with connection.transaction():
            for setting in (*settings, f"set local plan_cache_mode = {mode}"):
                connection.execute(setting)
            connection.execute(f"prepare hot as {text}")
            asked = sql.SQL("({})").format(given) if names else sql.SQL("")
            for _ in range(7 if mode == "auto" else 1):
                row = connection.execute(sql.SQL("explain (format json) execute hot {}").format(asked)).fetchone()
            connection.execute("deallocate hot")
        assert row is not None
        yield list(_nodes(row[0][0]["Plan"]))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def grows(name: str) -> bool:
    return name in GROWING or name.startswith("events_")


def read_whole(nodes: Nodes) -> set[str]:
    """Return the tables that grow and are read from end to end, but for partitions with nothing in them."""
    return {node["Relation Name"] for node in nodes
            if node["Node Type"] == "Seq Scan" and grows(node["Relation Name"]) and not _is_bare(node)}  # fmt: skip


def _is_bare(node: dict[str, Any]) -> bool:
    """Whether the planner knows that there is nothing in it."""
    return node["Relation Name"].startswith("events_") and node["Plan Rows"] <= 1


def indexes(nodes: Nodes) -> set[str]:
    """Return the indexes by which tables that grow are read, those of the log without their partition."""
    names = (re.sub(r"^events_\d+w\d+", "", node["Index Name"]) for node in nodes if "Index Name" in node)
    return {name for name in names if not name.startswith(SMALL)}


def test_every_statement_is_hot_and_its_plan_is_tested_or_it_is_said_why_not() -> None:
    there, matched = set(), set()
    for room in ROOMS:
        place = ROOT / room / "sql"
        there |= {f"{place.parent.name}/{path.relative_to(place).with_suffix('')}" for path in place.rglob("*.sql")}
    unsaid = set()
    for name in there - set(CASES):
        short = name.partition("/")[2]
        reasons = [pattern for pattern in NOT_HOT if fnmatch(short, pattern)]
        matched.update(reasons)
        if not reasons:
            unsaid.add(name)
    assert unsaid == set()
    assert set(CASES) <= there
    assert set(NOT_HOT) == matched, "what is not there needs no reason"


@pytest.mark.parametrize("name", CASES)
def test_a_hot_statement_reads_by_the_index_made_for_it(planner: psycopg.Connection, job: UUID, name: str) -> None:
    (case,) = (case for case in statements(job) if str(case) == name)
    for nodes in plans(planner, statement(case.package, case.name), case.parameters, case.settings):
        assert read_whole(nodes) == set(), nodes
        used = indexes(nodes)
        assert all(any(index.endswith(end) for index in used) for end in case.by), used
        if case.by:
            assert all(any(index.endswith(end) for end in case.by) for index in used), used


@pytest.mark.parametrize(
    "folded", [*((each,) for each in PROJECTIONS), PROJECTIONS], ids=lambda folded: " and ".join(p.name for p in folded)
)
def test_a_fold_reads_no_table_that_grows_from_end_to_end(planner: psycopg.Connection, folded: Any) -> None:
    with planner.transaction():
        enter(planner, "ledger_read")
        for batch in (Batch(23_000, 23_200), Batch(23_000, 23_200, late=(17, 18))):
            statement_ = folding(tuple(projection.fold for projection in folded))
            for nodes in plans(planner, statement_, batch.parameters(), TURN):
                assert read_whole(nodes) == set(), nodes


NOW = datetime.now(UTC)
FILTERS: dict[Any, tuple[Any, Mapping[str, Any]]] = {
    JobFilter: (ordered_jobs, {
        "ids": (HIGHEST,), "states": ("dead",), "types": ("email.send",), "queues": ("q1",),
        "priorities": (Priority.CRITICAL,), "worker_id": "w7", "correlation_id": "order-7", "schedule_id": HIGHEST,
        "created_after": NOW, "created_before": NOW, "oldest_first": True,
    }),
    ExecutionFilter: (ordered_attempts, {
        "job_id": HIGHEST, "types": ("email.send",), "states": ("dead",), "queues": ("q1",), "worker_id": "w7",
        "started_after": NOW, "started_before": NOW,
    }),
    DeadLetterFilter: (ordered_dead_letters, {
        "ids": (HIGHEST,), "types": ("email.send",), "queues": ("q1",), "failed_after": NOW, "failed_before": NOW,
        "error_contains": "no",
    }),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "member"), [(kind, member) for kind, (_, values) in FILTERS.items() for member in values]
)
def test_a_page_of_a_list_by_any_filter_reads_no_table_from_end_to_end(
    teeming: psycopg.Connection, kind: Any, member: str
) -> None:
    teeming.execute("analyze")
    ordered, values = FILTERS[kind]
    assert set(values) == set(kind.__struct_fields__), "a filter without a test"
    query, parameters = compiled(ordered(kind(**{member: values[member]}), None).limit(11))
    for nodes in plans(teeming, query, parameters, modes=("force_custom_plan", "auto")):
        assert read_whole(nodes) == set(), nodes


def test_a_history_touches_one_partition(planner: psycopg.Connection, job: UUID) -> None:
    row = planner.execute(
        b"explain (analyze, format json) " + statement("ledger", "select_histories"), {"job_ids": f'["{job}"]'}
    ).fetchone()
    touched = {node["Relation Name"] for node in _nodes(row[0][0]["Plan"])
               if node.get("Relation Name", "").startswith("events_") and node["Actual Loops"]}  # fmt: skip
    assert len(touched) == 1


@pytest.mark.parametrize(
    "name", ["ledger/append_event", "ledger/append_events", "ledger/lease_job", "ledger/lease_jobs"]
)
def test_a_change_of_a_job_opens_the_week_of_its_birth_alone_by_a_plan_that_is_made_once(
    planner: psycopg.Connection, job: UUID, name: str
) -> None:
    (case,) = (case for case in statements(job) if str(case) == name)
    for nodes in plans(planner, statement(case.package, case.name), case.parameters, modes=("auto",)):
        scans = [node for node in nodes if "Scan" in node["Node Type"] and grows(node.get("Relation Name", ""))]
        assert scans
        assert len({node["Relation Name"] for node in scans}) == 1
        # What is planned for these very jobs knows no other weeks.
        assert any(node.get("Subplans Removed") for node in nodes)
