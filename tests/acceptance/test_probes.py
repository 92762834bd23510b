"""PROBE_PORT on worker, projector and scheduler: health, readiness and metrics of services that serve nothing else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest
from ledger_migrations.migrate import migrate
from ledger_projections.builtin import PROJECTIONS
from ledger_projections.engine import Engine

from ledger.log import Lease
from ledger.runtime.database import Database
from tests.support.api_process import bare, until
from tests.support.services import service
from tests.support.working import APP, ROOT, ledger_on, send

if TYPE_CHECKING:
    from ledger.runtime.embedded import EmbeddedPostgres

COMMANDS = {"worker": ("worker", APP), "projector": ("projector",), "scheduler": ("scheduler",)}
EVERY = pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
READY = {"postgres": "ok", "migrations": "ok", "redis": "ok"}


@pytest.fixture
def urls(database: str, redis_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database, "REDIS_URL": redis_url}


@EVERY
def test_d48_every_service_says_whether_it_lives_and_can_work(arguments: tuple[str, ...], urls: dict[str, str]) -> None:
    with service(*arguments, **urls) as running:
        until(lambda: running.get("/ready").status == 200)
        assert running.get("/readyz").json == {"status": "ready", "checks": READY}
        for path in ("/health", "/livez"):
            assert running.get(path).json == {"status": "ok"}
        assert running.get("/startupz").json == {"status": "started"}
        assert running.get("/metrics").headers["content-type"].startswith("text/plain")
        assert any(name.startswith("ledger_build_info{") for name in running.metrics())
        assert running.get("/api/v1/jobs").json["code"] == "not_found"


@EVERY
def test_d48_without_postgres_it_lives_and_is_not_ready(
    arguments: tuple[str, ...], private_postgres: EmbeddedPostgres, redis_url: str
) -> None:
    migrate(private_postgres.url)
    with service(*arguments, DATABASE_URL=private_postgres.url, REDIS_URL=redis_url) as running:
        until(lambda: running.get("/ready").status == 200)
        private_postgres.stop()
        answer = running.get("/ready")
        assert answer.status == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.json["code"], answer.json["checks"]["postgres"]) == ("unavailable", "unavailable")
        assert running.get("/livez").status == 200
        assert running.get("/startupz").status == 200
        private_postgres.start()
        until(lambda: running.get("/ready").status == 200)


@EVERY
def test_without_redis_it_is_ready_and_says_so(arguments: tuple[str, ...], database: str) -> None:
    with service(*arguments, DATABASE_URL=database, REDIS_URL="redis://127.0.0.1:1/0") as running:
        until(lambda: running.get("/ready").status == 200)
        assert running.get("/ready").json["checks"] == READY | {"redis": "unavailable"}


def test_a_database_that_is_not_migrated_is_not_ready(empty_database: str, redis_url: str) -> None:
    with service("projector", DATABASE_URL=empty_database, REDIS_URL=redis_url) as running:
        answer = running.get("/ready")
        assert (answer.status, answer.json["checks"]["migrations"]) == (503, "pending")
        assert running.get("/startupz").status == 503
        migrate(empty_database)
        until(lambda: running.get("/startupz").status == 200)


@EVERY
def test_d53_a_port_that_is_taken_ends_it_with_1(arguments: tuple[str, ...], urls: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = _run(*arguments, **urls, PROBE_PORT=port)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr


@EVERY
def test_d53_a_bad_setting_ends_it_with_2(arguments: tuple[str, ...], urls: dict[str, str]) -> None:
    done = _run(*arguments, **urls, PROBE_PORT="http")
    assert done.returncode == 2
    assert "PROBE_PORT=http" in done.stderr


def test_d55_worker_ids_are_the_same_in_log_heartbeat_events_and_metrics(urls: dict[str, str]) -> None:
    with ledger_on(*urls.values()) as ledger, service("worker", APP, **urls, WORKER_QUEUES="default") as running:
        [started] = until(lambda: running.said("worker started"))
        job_id = send(ledger, "add", {"a": 1, "b": 2})
        until(lambda: ledger.get(job_id).state == "succeeded")
        (leased,) = [entry.event for entry in ledger.history(job_id) if entry.kind == "leased"]
        with psycopg.connect(urls["DATABASE_URL"]) as connection:
            beating = connection.execute("select id from ledger.workers").fetchall()
        assert [(started["worker_id"],)] == [(leased.worker_id,)] == beating
        assert f'ledger_worker_slots{{worker_id="{leased.worker_id}"}}' in running.metrics()


def test_d55_a_service_says_when_a_server_goes_and_when_it_is_back(
    private_postgres: EmbeddedPostgres, redis_url: str
) -> None:
    migrate(private_postgres.url)
    with closing(Database(private_postgres.url)) as pool:
        for projection in PROJECTIONS:  # without read models, that is what the loops would wait for
            Engine(pool, projection).prepare()
    with service("scheduler", DATABASE_URL=private_postgres.url, REDIS_URL=redis_url) as running:
        until(lambda: running.get("/ready").status == 200)
        assert running.said("unavailable") == []
        private_postgres.stop()
        until(lambda: running.said("unavailable"))
        private_postgres.start()
        until(lambda: running.said("available again"))


def test_one_port_serves_all_processes_of_a_worker_and_adds_up_what_they_count(urls: dict[str, str]) -> None:
    options = ("--processes", "2", "--concurrency", "3", "--max-jobs", "5")
    with ledger_on(*urls.values()) as ledger, service("worker", APP, *options, **urls, WORKER_QUEUES="default") as it:
        jobs = [send(ledger, "who") for _ in range(20)]
        until(lambda: all(ledger.get(job_id).state == "succeeded" for job_id in jobs))
        until(lambda: _count(it.metrics(), "ledger_job_duration_seconds_count") == 20)
        until(lambda: _named(it.metrics(), "ledger_worker_slots") == [3, 3])
        found = it.metrics()
        assert found['ledger_job_duration_seconds_count{outcome="succeeded",queue="default",type="who"}'] == 20
        assert found['ledger_events_appended_total{kind="leased",queue="default"}'] == 20
        assert found['ledger_events_appended_total{kind="succeeded",queue="default"}'] == 20
        assert found["ledger_append_conflicts_total"] == 0
        assert found["ledger_append_seconds_count"] >= 1
        assert _named(found, "ledger_worker_slots_busy") == [0, 0]
        assert max(_named(found, "ledger_worker_last_fetch_age_seconds")) < 10
        assert _count(found, "ledger_job_wait_seconds_count") == 20


def test_a_refused_outcome_is_counted(urls: dict[str, str], tmp_path) -> None:
    path = tmp_path / "job"
    with ledger_on(*urls.values()) as ledger, service("worker", APP, **urls, WORKER_QUEUES="default") as it:
        job_id = send(ledger, "wait_for_file", {"path": str(path)})
        until(lambda: ledger.get(job_id).state == "running")
        ledger.cancel(job_id)
        (tmp_path / "job.go").touch()
        until(lambda: it.metrics().get('ledger_completions_refused_total{queue="default"}') == 1)


def test_a_worker_that_stands_still_is_not_alive(urls: dict[str, str]) -> None:
    """A stopped child takes nothing: after 30 seconds the probe says so, while the supervisor beats on."""
    with service("worker", APP, **urls) as running:
        [started] = until(lambda: running.said("worker started"))
        until(lambda: running.get("/livez").status == 200)
        pid = int(started["worker_id"].rsplit("-", 2)[1])
        os.kill(pid, signal.SIGSTOP)
        try:
            until(lambda: running.get("/livez").status == 503)
            assert started["worker_id"] in running.get("/livez").json["detail"]
        finally:
            os.kill(pid, signal.SIGCONT)
        until(lambda: running.get("/livez").status == 200)


def test_a_projector_says_how_far_each_projection_is(urls: dict[str, str]) -> None:
    names = {"jobs", "attempts", "queue_stats", "dead_letters", "dispatch"}
    with ledger_on(*urls.values()) as ledger, service("projector", **urls) as it:
        ledger.enqueue("add", {"a": 1, "b": 2})
        lag = "ledger_projection_lag_events"
        until(lambda: {_projection(name) for name in it.metrics() if name.startswith(lag)} >= names)
        until(lambda: _named(it.metrics(), lag) == [0] * len(names))
        found = it.metrics()
        for metric in ("ledger_projection_lag_seconds", "ledger_projection_parked_events", "ledger_cursor_holes"):
            assert {_projection(name) for name in found if name.startswith(metric)} == names, metric
        assert found["ledger_dispatch_refills_total"] == 1
        assert found["ledger_dispatch_healed_total"] == 0


def test_a_scheduler_counts_the_leases_it_released(urls: dict[str, str]) -> None:
    tempo = {"SCHEDULER_STALE_JOB_TIMEOUT": "600ms", "WORKER_HEARTBEAT_INTERVAL": "200ms"}
    with ledger_on(*urls.values()) as ledger, service("scheduler", **urls, **tempo) as it, service("projector", **urls):
        job_id = ledger.enqueue("add", {"a": 1, "b": 2})
        ledger.log.lease([Lease(job_id, 1, "nonce")], "nobody")
        until(lambda: it.metrics().get('ledger_leases_expired_total{queue="default"}') == 1)
        assert "ledger_schedule_fire_delay_seconds_count" in it.metrics()


def test_ledger_dev_gives_each_service_a_port_of_its_own(urls: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with service("dev", APP, "--port", "0", **urls, PROBE_PORT=port, LOG_FORMAT="json") as running:
            until(lambda: len({line["port"] for line in running.said("probes listening")} - {int(port)}) == 3)


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ledger", *arguments],
        cwd=ROOT,
        env=bare(environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _named(metrics: dict[str, float], name: str) -> list[float]:
    return [value for sample, value in metrics.items() if sample.partition("{")[0] == name]


def _count(metrics: dict[str, float], name: str) -> float:
    return sum(_named(metrics, name))


def _projection(sample: str) -> str:
    return sample.partition('projection="')[2].partition('"')[0]
