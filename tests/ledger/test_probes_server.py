"""The probes' door, without any service behind it: every answer, every refusal, and a port that is taken."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from datetime import timedelta

import pytest

from ledger.readiness import is_ready
from ledger.runtime.probes import Probes, Vitals
from ledger.runtime.service import STILL_LIMIT, Loop, long_turn, standing_still

GOOD = {"postgres": "ok", "migrations": "ok", "redis": "ok"}


class Process:
    """What stands behind the door, as the test wants it."""

    def __init__(self) -> None:
        self.still: str | None = None
        self.state = dict(GOOD)

    def vitals(self) -> Vitals:
        return Vitals(lambda: self.still, lambda: self.state, is_ready, lambda: b"ledger_build_info 1.0\n")


@pytest.fixture
def process():
    return Process()


@pytest.fixture
def door(process):
    with Probes("127.0.0.1", 0, process.vitals()) as probes:
        yield probes


def ask(door: Probes, path: str, method: str = "GET"):
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/health", "/livez"])
def test_alive_depends_on_nothing_outside(door, process, path):
    process.state = dict.fromkeys(GOOD, "unavailable")
    status, headers, body = ask(door, path)
    assert (status, json.loads(body)) == (200, {"status": "ok"})
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", ["/health", "/livez"])
def test_what_stands_still_is_not_alive(door, process, path):
    process.still = "not turned: due for 31 s"
    status, headers, body = ask(door, path)
    assert status == 503
    assert headers["Content-Type"] == "application/problem+json"
    assert (json.loads(body)["code"], json.loads(body)["detail"]) == ("unavailable", process.still)


@pytest.mark.parametrize("path", ["/ready", "/readyz"])
def test_ready_says_what_it_found(door, process, path):
    assert json.loads(ask(door, path)[2]) == {"status": "ready", "checks": GOOD}
    process.state["redis"] = "unavailable"
    status, _, body = ask(door, path)
    assert (status, json.loads(body)["checks"]["redis"]) == (200, "unavailable")


@pytest.mark.parametrize("missing", [{"postgres": "unavailable", "migrations": "unknown"}, {"migrations": "pending"}])
def test_not_ready_is_a_problem_with_the_checks(door, process, missing):
    process.state |= missing
    status, headers, body = ask(door, "/readyz")
    problem = json.loads(body)
    assert status == problem["status"] == 503
    assert headers["Retry-After"] == "1"
    assert problem["checks"] == process.state
    assert problem["type"] == "urn:ledger:problem:unavailable"
    assert problem["detail"] == problem["error"]
    assert all(name in problem["detail"] for name in missing)


def test_started_once_is_started_for_good(door, process):
    process.state["postgres"] = "unavailable"
    assert ask(door, "/startupz")[0] == 503
    process.state["postgres"] = "ok"
    assert json.loads(ask(door, "/startupz")[2]) == {"status": "started"}
    process.state["postgres"] = "unavailable"
    assert ask(door, "/startupz")[0] == 200


def test_metrics_are_text(door):
    status, headers, body = ask(door, "/metrics")
    assert (status, body) == (200, b"ledger_build_info 1.0\n")
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")


def test_head_is_answered_without_a_body_and_a_query_is_no_other_path(door):
    status, headers, body = ask(door, "/livez?verbose", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) == len(b'{"status":"ok"}')


def test_d52_other_paths_and_methods_are_problems(door):
    status, _, body = ask(door, "/jobs")
    assert (status, json.loads(body)["code"]) == (404, "not_found")
    status, headers, body = ask(door, "/livez", "POST")
    assert (status, json.loads(body)["code"], headers["Allow"]) == (405, "method_not_allowed", "GET, HEAD")


def test_a_client_that_says_nothing_holds_up_nobody(door):
    silent = [socket.create_connection(("127.0.0.1", door.port)) for _ in range(8)]
    assert ask(door, "/livez")[0] == 200
    for each in silent:
        each.close()


def test_a_port_that_is_taken_is_told_at_once(door, process):
    with pytest.raises(OSError, match="in use"):
        Probes("127.0.0.1", door.port, process.vitals())


class Role:
    """A service whose turn lasts until the test lets it end."""

    name = "role"

    def __init__(self) -> None:
        self.began, self.end = threading.Event(), threading.Event()
        self.is_long = False

    def run_once(self) -> bool:
        if self.is_long:
            with long_turn():
                self._turn()
        else:
            self._turn()
        return False

    def _turn(self) -> None:
        self.began.set()
        self.end.wait(30)


@pytest.fixture
def clock(monkeypatch):
    """Lets time pass for the loops at the test's word."""
    passed = [0.0]
    real = __import__("time").monotonic
    monkeypatch.setattr("ledger.runtime.service.time.monotonic", lambda: real() + passed[0])
    return passed


@pytest.mark.parametrize(("is_long", "late"), [(False, "not turned: role for 3"), (True, None)])
def test_a_turn_that_does_not_end_is_noticed_unless_it_said_so(clock, is_long, late):
    role, stop = Role(), threading.Event()
    role.is_long = is_long
    hour = timedelta(hours=1)
    loop = Loop(role, stop, shortest=hour, longest=hour)
    thread = loop.start()
    assert role.began.wait(10)
    assert standing_still([loop]) is None
    clock[0] += STILL_LIMIT + 5
    still = standing_still([loop])
    assert still is None if late is None else still is not None and still.startswith(late)
    loop.halt()
    role.end.set()
    thread.join(10)


def test_a_loop_that_waits_as_long_as_it_means_to_is_alive(clock):
    role, stop = Role(), threading.Event()
    role.end.set()
    hour = timedelta(hours=1)
    loop = Loop(role, stop, shortest=hour, longest=hour)
    thread = loop.start()
    assert role.began.wait(10)
    while loop.seconds_late:  # until it waits
        pass
    clock[0] += 3500
    assert standing_still([loop]) is None
    clock[0] += 3700
    assert standing_still([loop]) is not None
    loop.halt()
    thread.join(10)
