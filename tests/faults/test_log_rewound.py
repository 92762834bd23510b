"""F15: a log that lost its end, for real: an older copy of its server, and a standby that lacked the tail.

Everything that runs goes on running over it, and nobody is restarted but the servers.
"""

from __future__ import annotations

import shutil
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from ledger_migrations.migrate import migrate

from ledger.cli import main
from ledger.errors import JobNotFound
from ledger.events import Kind
from ledger.runtime.embedded import EmbeddedPostgres
from tests.support.servers import connect, server_directory
from tests.support.services import service
from tests.support.working import APP, kinds, ledger_on, patiently, reached, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from uuid import UUID

    from ledger import Ledger

TEMPO = {
    "SCHEDULER_STALE_JOB_TIMEOUT": "3s",
    "WORKER_HEARTBEAT_INTERVAL": "500ms",
    "SCHEDULER_POLL_INTERVAL": "200ms",
    "WORKER_QUEUES": "default",
    "WORKER_POLL_INTERVAL": "200ms",
}


class Plant:
    """Projector, scheduler and worker as processes of their own, and a client."""

    def __init__(self, ledger: Ledger, stack: ExitStack) -> None:
        self.ledger = ledger
        self.servers = {"DATABASE_URL": ledger.database_url, "REDIS_URL": ledger.redis_url}
        environment = TEMPO | self.servers
        self.projector = stack.enter_context(service("projector", **environment))
        self.scheduler = stack.enter_context(service("scheduler", **environment))
        self.worker = stack.enter_context(service("worker", APP, **environment))

    def enqueue(self, type_: str, payload: dict[str, Any] | None = None, **options: Any) -> UUID:
        return patiently(lambda: self.ledger.enqueue(type_, payload, **options))

    def run(self, count: int = 3) -> list[UUID]:
        """Let some jobs live their whole life."""
        jobs = [self.enqueue("who") for _ in range(count)]
        for job in jobs:
            self.reached(job, "succeeded")
        return jobs

    def reached(self, job: UUID, state: str) -> None:
        patiently(lambda: reached(self.ledger, job, state))

    def command(self, *arguments: str) -> str:
        ran = CliRunner().invoke(main, [*arguments], env=self.servers | {"COLUMNS": "300"})
        return f"{ran.output}\nexit {ran.exit_code}"


@pytest.fixture
def hold() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def plant_on(url: str, redis_url: str, stack: ExitStack) -> Plant:
    return Plant(stack.enter_context(ledger_on(url, redis_url)), stack)


def copy(server: EmbeddedPostgres, place: Path) -> Path:
    """Copy the data of a server that does not run; their owner stays the same."""
    data = place / "postgres"
    subprocess.run(["cp", "-a", (server.directory / "postgres").resolve(), data], check=True)
    return data


def assert_told_once(plant: Plant) -> None:
    """G20: the loss is reported, never hidden."""
    said = "log rewound: an event that was read is gone, and others with it"
    assert len(until(lambda: plant.projector.said(said))) == 1
    assert until(lambda: audited(plant.ledger.database_url)) == [("log.rewound", "projector")]
    assert "taken back in time" in plant.command("doctor")
    assert plant.projector.metrics()["ledger_log_rewound_total"] == 1
    assert [each.get("/readyz").status for each in (plant.projector, plant.scheduler, plant.worker)] == [200, 200, 200]


def audited(url: str) -> list[tuple[str, str]]:
    with connect(url) as connection:
        return connection.execute("select action, actor from ledger.audit").fetchall()


def assert_lost(ledger: Ledger, jobs: list[UUID]) -> None:
    for job in jobs:
        with pytest.raises(JobNotFound):
            patiently(lambda job=job: ledger.get(job))


@pytest.mark.heavy
def test_f15_an_older_copy_of_the_server_is_brought_back(
    private_postgres: EmbeddedPostgres, redis_url: str, hold: ExitStack
) -> None:
    migrate(private_postgres.url)
    plant = plant_on(private_postgres.url, redis_url, hold)
    kept = plant.run()
    recalled = plant.enqueue("who", queue="nobody")
    due = plant.enqueue("who", delay=5)
    private_postgres.stop()
    backup = copy(private_postgres, hold.enter_context(server_directory()))
    private_postgres.start()
    lost = [*plant.run(), plant.enqueue("who", queue="nobody")]
    patiently(lambda: plant.ledger.cancel(recalled))
    plant.reached(due, "succeeded")  # the last that is dispatched: after the restore it becomes due anew

    private_postgres.kill()
    data = (private_postgres.directory / "postgres").resolve()
    shutil.rmtree(data)
    subprocess.run(["cp", "-a", backup, data], check=True)
    private_postgres.start()

    assert_told_once(plant)
    assert_lost(plant.ledger, lost)
    plant.reached(due, "succeeded")
    assert [kinds(plant.ledger, job)[-1] for job in kept] == [Kind.SUCCEEDED] * 3
    assert plant.ledger.get(recalled).state == "ready"
    plant.run(10)
    found = plant.command("verify")
    assert f"{lost[-1]}:1" in found  # a message of which the log knows nothing, on a queue that nobody works on
    assert "1 differences" in found
    hold.enter_context(service("worker", APP, **TEMPO | plant.servers | {"WORKER_QUEUES": "nobody"}))
    plant.reached(recalled, "succeeded")
    until(lambda: "no differences" in plant.command("verify"))


@pytest.mark.heavy
def test_f15_a_standby_that_lacked_the_tail_is_promoted(
    private_postgres: EmbeddedPostgres, redis_url: str, tmp_path: Path, hold: ExitStack
) -> None:
    primary = private_postgres
    migrate(primary.url)
    primary.stop()
    place = hold.enter_context(server_directory())
    (copy(primary, place) / "standby.signal").touch()
    primary.start()
    settings = {"primary_conninfo": f"host=127.0.0.1 port={port(primary)} user=ledger"}
    standby = hold.enter_context(EmbeddedPostgres(place, durable=False, settings=settings))
    hosts = f"127.0.0.1:{port(primary)},127.0.0.1:{port(standby)}"
    plant = plant_on(f"postgresql://ledger@{hosts}/ledger?target_session_attrs=read-write", redis_url, hold)
    kept = plant.run()
    long = plant.enqueue("wait_for_file", {"path": str(tmp_path / "long")})
    plant.reached(long, "running")
    again = plant.enqueue("wait_for_file", {"path": str(tmp_path / "again")}, delay=1)
    until(lambda: has_received(standby, long, 2) and has_received(standby, again, 1))
    standby.stop()
    lost = plant.run()
    plant.reached(again, "running")
    until((tmp_path / "again.1.pid").exists)
    (tmp_path / "again.1.pid").unlink()
    primary.kill()
    standby.start()
    with connect(standby.url) as connection:
        connection.execute("select pg_promote()")

    assert_told_once(plant)
    assert_lost(plant.ledger, lost)
    until((tmp_path / "again.1.pid").exists)  # due anew, and leased by the same worker, in which it still runs
    for name in ("again", "long"):
        (tmp_path / f"{name}.go").touch()
    plant.reached(again, "succeeded")
    plant.reached(long, "succeeded")
    until(lambda: plant.worker.said("lease lost"))
    assert kinds(plant.ledger, again) == [Kind.SCHEDULED, Kind.ENQUEUED, Kind.LEASED, Kind.SUCCEEDED]
    assert kinds(plant.ledger, long) == [Kind.ENQUEUED, Kind.LEASED, Kind.SUCCEEDED]
    assert [kinds(plant.ledger, job)[-1] for job in kept] == [Kind.SUCCEEDED] * 3
    plant.run(10)
    assert "no differences" in plant.command("verify")


def port(server: EmbeddedPostgres) -> int | None:
    return urlsplit(server.url).port


def has_received(standby: EmbeddedPostgres, job: UUID, version: int) -> bool:
    with connect(standby.url) as connection:
        rows = connection.execute("select from ledger.events where job_id = %s and version = %s", [job, version])
        return rows.fetchone() is not None
