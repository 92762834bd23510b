"""Every setting changes behaviour: for each variable, a test that shows it. Those that no other file holds are here."""

from __future__ import annotations

import re
import socket
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from click.testing import CliRunner
from ledger_scheduler.scheduler import Scheduler

from ledger import Ledger
from ledger.cli import main
from ledger.errors import InvalidRequest, InvalidSettings
from ledger.runtime.database import Database
from ledger.settings import VARIABLES, from_env, ignored
from ops.proofs import contract
from tests.support.api_process import api_process, until
from tests.support.lives import fold_all
from tests.support.services import service
from tests.support.working import APP, Pump, ledger_on, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROOFS = {row.name: row.tests[0] for row in contract(()) if row.section == "8. Settings"}

SLOW = (
    b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n{"
)
"""A request whose end never comes, too large to be waited for without a thread."""

TESTS = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    """The source of the file each test is in, by the test's name."""
    texts = [path.read_text() for path in TESTS.rglob("test_*.py")]
    return {name: text for text in texts for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)}


@pytest.fixture
def urls(database: str, redis_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database, "REDIS_URL": redis_url}


@pytest.fixture
def ledger_with(database: str, redis_url: str) -> Iterator[Callable[..., Ledger]]:
    made: list[Ledger] = []

    def make(**environment: str) -> Ledger:
        made.append(Ledger(database_url=database, redis_url=redis_url, settings=from_env(environment)))
        return made[-1]

    yield make
    for ledger in made:
        ledger.close()


def test_d54_every_setting_has_a_test_that_shows_its_effect(sources: dict[str, str]) -> None:
    assert list(PROOFS) == [variable.name for variable in VARIABLES]
    assert set(PROOFS.values()) <= set(sources)


@pytest.mark.parametrize(("name", "proof"), PROOFS.items(), ids=PROOFS)
def test_d54_the_test_is_about_that_setting(sources: dict[str, str], name: str, proof: str) -> None:
    assert re.search(rf"\b({name}|{name.lower()}|{name.lower().partition('_')[2]})\b", sources[proof])


def test_no_more_connections_than_the_pool_may_have(ledger_with) -> None:
    database = ledger_with(DATABASE_POOL_SIZE="2").database
    third = threading.Event()

    def take() -> None:
        with database.connection():
            third.set()

    with database.connection() as one:
        with database.connection() as two:
            assert one is not two
            waiting = threading.Thread(target=take)
            waiting.start()
            assert not third.wait(0.3)
        assert third.wait(10)
    waiting.join(10)


def test_the_api_listens_where_it_is_told_to(urls: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.2", 0)) as free:
        port = free.getsockname()[1]
    with service("api", "--insecure", **urls, API_HOST="127.0.0.2", API_PORT=str(port), API_WORKERS="1") as running:
        until(lambda: running.said("listening"))
        socket.create_connection(("127.0.0.2", port), timeout=10).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=10)


@pytest.mark.parametrize("count", [1, 3])
def test_there_are_as_many_api_processes_as_wanted(urls: dict[str, str], count: int) -> None:
    with api_process(**urls, API_WORKERS=str(count)) as running:
        children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
        until(lambda: len(children.read_text().split()) == count)


@pytest.mark.parametrize(("threads", "answers"), [(1, False), (2, True)])
def test_a_large_body_that_comes_slowly_holds_up_no_more_than_its_thread(
    urls: dict[str, str], threads: int, answers: bool
) -> None:
    with api_process(**urls, API_WORKERS="1", API_THREADS=str(threads)) as running:
        assert running.request("GET", "/livez").status == 200
        slow, quick = (socket.create_connection(("127.0.0.1", running.port)) for _ in range(2))
        with slow, quick:
            slow.sendall(SLOW)
            quick.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            if answers:
                quick.settimeout(30)
                assert quick.recv(12) == b"HTTP/1.1 200"
            else:
                quick.settimeout(1)
                with pytest.raises(TimeoutError):
                    quick.recv(12)
                slow.close()
                quick.settimeout(30)
                assert quick.recv(12) == b"HTTP/1.1 200"


def test_a_worker_runs_so_many_jobs_at_once_of_the_queues_it_is_given(urls: dict[str, str], tmp_path: Path) -> None:
    settings = {"WORKER_CONCURRENCY": "2", "WORKER_QUEUES": "mail"}
    with ledger_on(*urls.values()) as ledger, service("worker", APP, **urls, **settings) as running:
        other = send(ledger, "who")
        jobs = [send(ledger, "wait_for_file", {"path": str(tmp_path / str(n))}, queue="mail") for n in range(3)]
        until(lambda: [ledger.get(job_id).state for job_id in jobs].count("running") == 2)
        assert [v for name, v in running.metrics().items() if name.startswith("ledger_worker_slots{")] == [2]
        assert [ledger.get(job_id).state for job_id in jobs].count("ready") == 1
        for n in range(3):
            (tmp_path / f"{n}.go").touch()
        until(lambda: all(ledger.get(job_id).state == "succeeded" for job_id in jobs))
        assert ledger.get(other).state == "ready"


def test_an_idle_worker_looks_as_often_as_it_is_told_to(urls: dict[str, str]) -> None:
    def age(running) -> float:
        name = "ledger_worker_last_fetch_age_seconds"
        return max((value for sample, value in running.metrics().items() if sample.startswith(name)), default=0.0)

    quick = service("worker", APP, **urls, WORKER_POLL_INTERVAL="50ms")
    slow = service("worker", APP, **urls, WORKER_POLL_INTERVAL="1h")
    with quick as often, slow as seldom:
        until(lambda: age(seldom) > 3)
        assert age(often) < 3
        assert seldom.get("/livez").status == 200


def test_the_scheduler_looks_as_often_as_it_is_told_to(database: str, redis_url: str) -> None:
    pool = Database(database, size=20)
    fold_all(pool)
    stop = threading.Event()
    turns = {}
    threads = []
    for interval in ("20ms", "1h"):
        scheduler = Scheduler(pool, redis_url, from_env({"SCHEDULER_POLL_INTERVAL": interval}), stop)
        turns[interval] = _counted(scheduler)
        threads.append(threading.Thread(target=scheduler.run))
        threads[-1].start()
    until(lambda: len(turns["20ms"]) > 20 and turns["1h"])
    assert len(turns["1h"]) == 1
    stop.set()
    for thread in threads:
        thread.join(30)
    pool.close()


def _counted(scheduler: Scheduler) -> list[None]:
    """Note every turn of the loop that looks for what there is to do."""
    [lookout] = [loop.service for loop in scheduler.loops if loop.service.name == "lookout"]
    turns: list[None] = []
    turn = lookout.run_once

    def noted() -> bool:
        turns.append(None)
        return turn()

    lookout.run_once = noted
    return turns


def test_the_scheduler_takes_so_many_jobs_a_statement(database: str, redis_url: str) -> None:
    pool = Database(database)
    with ledger_on(database, redis_url) as ledger:
        soon = ledger.now() + timedelta(milliseconds=50)
        for _ in range(5):
            ledger.enqueue("a", expires_at=soon)
    fold_all(pool)
    scheduler = Scheduler(pool, redis_url, from_env({"SCHEDULER_BATCH_SIZE": "2"}), threading.Event())
    [expiry] = [loop.service for loop in scheduler.loops if loop.service.name == "expiry"]
    until(lambda: expiry.run_once() or expiry.cancelled)
    assert expiry.cancelled == 2
    assert [expiry.run_once() for _ in range(2)] == [True, False]
    assert expiry.cancelled == 5
    pool.close()


@pytest.mark.parametrize(
    ("name", "text", "member", "value"),
    [
        ("JOB_DEFAULT_TIMEOUT", "7s", "timeout_seconds", 7),
        ("JOB_DEFAULT_MAX_RETRIES", "0", "max_retries", 0),
        ("JOB_RETRY_BACKOFF", "linear", "retry.backoff", "linear"),
        ("JOB_RETRY_BASE_DELAY", "3s", "retry.base_seconds", 3),
        ("JOB_RETRY_MAX_DELAY", "40s", "retry.max_seconds", 40),
        ("JOB_RETRY_JITTER", "none", "retry.jitter", "none"),
    ],
)
def test_a_job_gets_the_defaults_of_the_settings(ledger_with, name: str, text: str, member: str, value: object) -> None:
    def given(ledger: Ledger, **options: object) -> object:
        found = ledger.get(ledger.enqueue("a", **options)).request
        for part in member.split("."):
            found = getattr(found, part)
        return found

    assert given(ledger_with(**{name: text})) == value
    assert given(ledger_with()) != value
    assert given(ledger_with(**{name: text}), timeout=9, max_retries=9, retry={"base": "1s", "max": "2s"}) != value or (
        member in ("retry.backoff", "retry.jitter")  # which the request leaves open
    )


def test_so_many_crashes_make_a_job_poison(urls: dict[str, str]) -> None:
    settings = {"JOB_MAX_CRASHES": "1", "WORKER_QUEUES": "default"}
    with ledger_on(*urls.values()) as ledger, service("worker", APP, **urls, **settings):
        (job,) = Pump(ledger, ledger.enqueue("die")).until("dead")
    assert (job.death.reason, job.crash_count, job.attempt) == ("poison", 1, 1)


def test_a_payload_over_the_limit_is_refused(ledger_with) -> None:
    payload = {"text": "x" * 100}
    assert ledger_with(JOB_MAX_PAYLOAD="1KiB").enqueue("a", payload)
    with pytest.raises(InvalidRequest, match="50"):
        ledger_with(JOB_MAX_PAYLOAD="50").enqueue("a", payload)


def test_an_idempotency_key_is_kept_so_long(ledger_with, database: str) -> None:
    patient, hasty = ledger_with(JOB_IDEMPOTENCY_TTL="24h"), ledger_with(JOB_IDEMPOTENCY_TTL="1h")
    first = patient.enqueue("a", idempotency_key="k")
    with psycopg.connect(database) as connection:
        connection.execute("update ledger.idempotency_keys set created_at = created_at - interval '2 hours'")
    assert patient.enqueue("a", idempotency_key="k") == first
    assert hasty.enqueue("a", idempotency_key="k") != first


_LISTENS = {
    "worker": "worker started",
    "projector": "probes listening",
    "scheduler": "probes listening",
    "api": "listening",
}

IGNORED = [
    "REDIS_ADDR", "REDIS_PASSWORD", "REDIS_DB", "REDIS_POOL_SIZE", "REDIS_MIN_IDLE_CONNS", "REDIS_MAX_RETRIES",
    "REDIS_DIAL_TIMEOUT", "REDIS_READ_TIMEOUT", "REDIS_WRITE_TIMEOUT", "REDIS_HOST", "REDIS_PORT",
    "DATABASE_MAX_OPEN_CONNS", "DATABASE_MAX_IDLE_CONNS", "DATABASE_CONN_MAX_LIFETIME", "DATABASE_CONN_MAX_IDLE_TIME",
    "API_READ_TIMEOUT", "API_WRITE_TIMEOUT", "API_IDLE_TIMEOUT",
]  # fmt: skip


@pytest.mark.parametrize("name", IGNORED)
def test_d54_a_variable_of_job_queue_without_effect_is_named(name: str) -> None:
    [advice] = ignored({name: "1", "REDIS_URL": "redis://h", "DATABASE_POOL_SIZE": "3"})
    assert advice.startswith(f"Ledger ignores {name}; ")


def test_no_others_are_named() -> None:
    ours = {variable.name: "x" for variable in VARIABLES}
    kubernetes = {"REDIS_SERVICE_HOST": "10.0.0.1", "REDIS_PORT_6379_TCP": "tcp://10.0.0.1:6379"}
    assert ignored(ours | kubernetes | {"PATH": "", "MY_REDIS_POOL": "", "DATABASE": ""}) == []


@pytest.mark.parametrize(
    "command", [("worker", APP), ("projector",), ("scheduler",), ("api", "--port", "0")], ids=" ".join
)
def test_d54_every_service_says_once_what_it_ignores(urls: dict[str, str], command: tuple[str, ...]) -> None:
    stale = {"REDIS_POOL_SIZE": "10", "API_IDLE_TIMEOUT": "5s", "API_WORKERS": "2"}
    with service(*command, **urls, **stale) as running:
        [line] = until(lambda: running.said("settings ignored"))
        assert len(running.said("settings ignored")) == 1
    assert line["level"] == "warning"
    assert [advice.split()[2] for advice in line["advice"]] == ["API_IDLE_TIMEOUT;", "REDIS_POOL_SIZE;"]


@pytest.mark.parametrize("command", ["check", "doctor"])
def test_d54_check_and_doctor_say_what_is_ignored(
    urls: dict[str, str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    for name, value in {**urls, "DATABASE_MAX_OPEN_CONNS": "25"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    result = CliRunner().invoke(main, [command])
    assert "Ledger ignores DATABASE_MAX_OPEN_CONNS; use DATABASE_POOL_SIZE" in result.output


def test_a_retention_shorter_than_the_life_of_a_key_is_refused() -> None:
    assert from_env({"EVENT_RETENTION": "24h"}).event_retention == timedelta(hours=24)
    with pytest.raises(InvalidSettings, match="must be at least JOB_IDEMPOTENCY_TTL"):
        from_env({"EVENT_RETENTION": "24h", "JOB_IDEMPOTENCY_TTL": "25h"})


def test_doctor_shows_the_week_that_cannot_leave(
    urls: dict[str, str], monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    for name, value in {**urls, "EVENT_RETENTION": "24h", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    assert "no week of the log is older" in CliRunner().invoke(main, ["doctor"]).output
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("select ledger.ensure_partition(now() - interval '4 weeks')")
        connection.execute(
            "insert into ledger.events (job_id, version, kind, priority, queue, actor) "
            "values (ledger.lowest_id(now() - interval '4 weeks'), 1, 'enqueued', 1, 'q', 'test')"
        )
    assert "1 jobs have not ended" in CliRunner().invoke(main, ["doctor"]).output


@pytest.mark.parametrize(("timeout", "alive"), [("10s", False), ("168h", True)])
def test_a_worker_is_silent_after_the_stale_timeout(
    urls: dict[str, str], monkeypatch: pytest.MonkeyPatch, database: str, timeout: str, alive: bool
) -> None:
    for name, value in {**urls, "SCHEDULER_STALE_JOB_TIMEOUT": timeout, "WORKER_HEARTBEAT_INTERVAL": "1s"}.items():
        monkeypatch.setenv(name, value)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "insert into ledger.workers (id, hostname, pid, version, queues, concurrency, heartbeat_at) "
            "values ('w', 'h', 1, '1', '{default}', 1, now() - interval '1 hour')"
        )
    listed = CliRunner().invoke(main, ["worker", "list", "-o", "json"])
    assert f'"alive":{str(alive).lower()}' in listed.stdout


@pytest.mark.parametrize(("level", "is_told"), [("info", True), ("error", False)])
def test_a_service_says_no_less_and_no_more_than_the_log_level_asks_for(
    urls: dict[str, str], level: str, is_told: bool
) -> None:
    assert any("probes listening" in line for line in _said_by_a_projector(urls, LOG_LEVEL=level)) is is_told


@pytest.mark.parametrize(("form", "is_json"), [("json", True), ("console", False)])
def test_a_service_writes_its_log_in_the_format_that_is_asked_for(
    urls: dict[str, str], form: str, is_json: bool
) -> None:
    lines = _said_by_a_projector(urls, LOG_FORMAT=form)
    assert lines
    assert {line.startswith("{") and line.rstrip().endswith("}") for line in lines} == {is_json}


def _said_by_a_projector(urls: dict[str, str], **environment: str) -> list[str]:
    with (
        psycopg.connect(urls["DATABASE_URL"], autocommit=True) as connection,
        service("projector", **urls, **environment) as running,
    ):
        until(lambda: connection.execute("select to_regclass('ledger_read.jobs')").fetchone() != (None,))
    return running.all_said()
