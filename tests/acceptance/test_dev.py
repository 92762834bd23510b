"""`ledger dev`: from an empty directory to a job that succeeded, and back to nothing."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.api_process import until
from tests.support.terminal import Terminal, gone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.heavy


@pytest.fixture
def dev(servers_directory: Path) -> Iterator[Terminal]:
    with Terminal("-m", "ledger", "dev", directory=servers_directory) as terminal:
        yield terminal


def ready(dev: Terminal) -> str:
    return dev.wait_for("ready at http").partition("ready at ")[2]


def call(url: str, body: dict[str, Any] | None = None) -> Any:
    """Speak HTTP as curl does in the README."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def state_of(url: str, job_id: str, wanted: str, seconds: float = 20) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while (job := call(f"{url}/api/v1/jobs/{job_id}"))["state"] != wanted:
        assert time.monotonic() < deadline, [event["kind"] for event in call(f"{url}/api/v1/jobs/{job_id}/events")]
        threading.Event().wait(0.02)
    return job


def test_a_job_runs_within_a_second_and_ctrl_c_leaves_nothing(dev: Terminal):
    url = ready(dev)
    hello = {"type": "example.hello", "payload": {"name": "you"}}
    state_of(url, call(f"{url}/api/v1/jobs", hello)["id"], "succeeded")
    job = state_of(url, call(f"{url}/api/v1/jobs", hello)["id"], "succeeded")
    assert job["result"]["greeting"] == "Hello, you!"
    took = datetime.fromisoformat(job["completed_at"]) - datetime.fromisoformat(job["created_at"])
    assert took.total_seconds() < 1

    family = dev.family()
    assert len(family) >= 6  # four services and two servers
    dev.interrupt()
    assert dev.wait() == 0
    assert gone(family), [process for process in family if process.is_running()]
    assert dev.output[-1].endswith("stopped")


def test_a_service_that_dies_takes_the_rest_with_it(dev: Terminal):
    ready(dev)
    family = dev.family()
    worker = next(process for process in family if "worker" in process.cmdline())
    worker.send_signal(signal.SIGKILL)
    assert dev.wait() == 1
    assert gone(family)
    assert "worker was killed by SIGKILL; everything is stopped" in dev.text


def test_the_second_ctrl_c_does_not_wait_for_running_jobs(dev: Terminal):
    url = ready(dev)
    job = call(f"{url}/api/v1/jobs", {"type": "example.sleep", "payload": {"seconds": 60, "stubborn": True}})
    state_of(url, job["id"], "running")
    family = dev.family()
    dev.interrupt()
    dev.wait_for("stopping")
    dev.interrupt()
    begun = time.monotonic()
    assert dev.wait() == 130
    assert time.monotonic() - begun < 20
    assert gone(family), [process.cmdline() for process in family if process.is_running()]


@pytest.mark.parametrize(("name", "title"), [("postgres", "PostgreSQL"), ("redis", "Valkey")])
def test_a_server_of_its_own_that_dies_is_started_again_on_its_data(
    dev: Terminal, servers_directory: Path, name: str, title: str
):
    url = ready(dev)
    hello = {"type": "example.hello", "payload": {"name": "you"}}
    before = state_of(url, call(f"{url}/api/v1/jobs", hello)["id"], "succeeded")
    kill_server(servers_directory, name)
    dev.wait_for(f"{title} was killed by SIGKILL; it is started again on the same data")
    dev.wait_for(f"{title} is up again")
    assert insist(f"{url}/api/v1/jobs/{before['id']}")["result"] == before["result"]
    job_id = insist(f"{url}/api/v1/jobs", hello)["id"]
    until(lambda: insist(f"{url}/api/v1/jobs/{job_id}")["state"] == "succeeded")
    family = dev.family()
    dev.interrupt()
    assert dev.wait(30) == 0
    assert gone(family), [process for process in family if process.is_running()]


def test_a_server_of_its_own_that_cannot_be_started_again_ends_it_all(dev: Terminal, servers_directory: Path):
    ready(dev)
    family = dev.family()
    (servers_directory / ".ledger" / "postgres" / "PG_VERSION").write_text("9\n")
    kill_server(servers_directory, "postgres")
    dev.wait_for("PostgreSQL was killed by SIGKILL and cannot be started again: ")
    assert dev.wait(30) == 1
    assert gone(family), [process for process in family if process.is_running()]


def insist(url: str, body: dict[str, Any] | None = None) -> Any:
    """Call until the answer is another than 503: each connection to a server that has died is found broken once."""

    def answer() -> Any:
        try:
            return call(url, body)
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            return None

    return until(answer)


def kill_server(directory: Path, name: str) -> None:
    os.kill(json.loads((directory / ".ledger" / f"{name}.json").read_text())["pid"], signal.SIGKILL)
