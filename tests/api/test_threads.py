"""The threads of the API's processes: few of them serve many connections, which stay open, and share out fairly."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from ledger_api.threads import Shares, Threads

from tests.support.api_process import api_process, until


@pytest.fixture(scope="module")
def served(module_database, servers):
    environment = {"DATABASE_URL": module_database, "REDIS_URL": servers.redis_url}
    with api_process(**environment, API_WORKERS="2", API_THREADS="2") as process:
        yield process


def asked(connection: HTTPConnection, path: str) -> int:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ECONNABORTED, errno.EAGAIN])
def test_a_connection_that_cannot_be_taken_ends_nothing(number):
    def accept() -> None:
        raise OSError(number, os.strerror(number))

    process = SimpleNamespace(_open=set(), shares=SimpleNamespace(least=lambda: 0))
    Threads.accept(process, SimpleNamespace(accept=accept))
    assert process._open == set()


def test_more_connections_than_threads_are_kept_and_answered_in_turn(served):
    connections = [HTTPConnection("127.0.0.1", served.port, timeout=60) for _ in range(20)]
    for _ in range(3):
        assert [asked(each, "/health") for each in connections] == [200] * 20
    with ThreadPoolExecutor(20) as pool:
        for _ in range(5):
            assert set(pool.map(asked, connections, ["/api/v1/jobs/x"] * 20)) == {404}
    for each in connections:
        assert each.sock is not None  # it was never told to close
        each.close()


def test_who_waits_for_the_flush_of_another_lets_the_next_one_work(module_database, servers):
    environment = {"DATABASE_URL": module_database, "REDIS_URL": servers.redis_url}
    with (
        api_process(**environment, API_WORKERS="1", API_THREADS="2") as process,
        psycopg.connect(module_database) as holder,
        ThreadPoolExecutor(3) as clients,
    ):
        holder.execute("lock table ledger.events in access exclusive mode")
        try:
            made = [clients.submit(process.post, "/api/v1/jobs", {"type": "a"}) for _ in range(3)]
            waiting = "select true from pg_locks where not granted and relation = 'ledger.events'::regclass"
            until(lambda: holder.execute(waiting).fetchone())
            assert process.request("GET", "/livez").status == 200
            assert not any(each.done() for each in made)
        finally:
            holder.rollback()
        assert [each.result(60).status for each in made] == [201] * 3


def test_requests_sent_ahead_are_answered_in_their_order(served):
    with socket.create_connection(("127.0.0.1", served.port), 60) as sock:
        paths = ("/health", "/api/v1/jobs/none", "/health")
        lines = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in paths]
        sock.sendall("".join(lines).encode())
        said = b""
        while said.count(b"HTTP/1.1 ") < 3:
            said += sock.recv(65_536)
    assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"200", b"404", b"200"]


def test_an_answer_without_a_body_is_sent_too(served):
    connection = HTTPConnection("127.0.0.1", served.port, timeout=60)
    for _ in range(2):
        connection.request("HEAD", "/health")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
    connection.close()


def test_a_stopping_server_hangs_up_on_who_says_nothing(module_database, servers):
    with api_process(DATABASE_URL=module_database, REDIS_URL=servers.redis_url, API_WORKERS="1") as process:
        connection = HTTPConnection("127.0.0.1", process.port, timeout=60)
        assert asked(connection, "/health") == 200
        assert process.stop(signal.SIGTERM) == 0
        assert connection.sock is not None
        assert connection.sock.recv(1) == b""
        connection.close()


def test_a_process_that_is_killed_is_replaced_and_its_place_given_on(module_database, servers):
    with api_process(DATABASE_URL=module_database, REDIS_URL=servers.redis_url, API_WORKERS="1") as process:
        children = Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children")
        gone: set[str] = set()
        for _ in range(3):
            (serving,) = until(lambda: set(children.read_text().split()) - gone)
            assert process.request("GET", "/health").status == 200
            os.kill(int(serving), signal.SIGKILL)
            gone.add(serving)


def test_the_place_of_a_process_that_has_ended_is_the_next_ones():
    shares = Shares(2)
    first, second = shares.take(1), shares.take(2)
    shares.tell(first, 5)
    shares.tell(second, 3)
    assert shares.least() == 3
    shares.leave(2)
    assert shares.take(3) == second
    assert shares.least() == 0
    shares.leave(17)  # one that never had a place


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/v1/jobs/bulk", "/api/v1/none"])
@pytest.mark.parametrize("chunked", [True, False])
def test_who_sends_too_much_hears_why_and_may_go_on(served, path, chunked):
    body = b" " * (17 * 2**20)
    connection = HTTPConnection("127.0.0.1", served.port, timeout=60)
    for _ in range(2):
        sent = [body[:65_536]] * 272 if chunked else body
        connection.request("POST", path, sent, {"Content-Type": "application/json"}, encode_chunked=chunked)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == (404 if path.endswith("none") else 413)
        assert connection.sock is not None
    assert asked(connection, "/health") == 200
    connection.close()
