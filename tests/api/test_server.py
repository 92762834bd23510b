"""`ledger api` as a process: what it serves, when it refuses to start, how it waits for Postgres and how it leaves."""

from __future__ import annotations

import json
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from ledger_migrations.migrate import migrate

from tests.support.api_process import api_process, refused_start, until

JOBS = "/api/v1/jobs"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def served(module_database, servers):
    with api_process(DATABASE_URL=module_database, REDIS_URL=servers.redis_url, API_WORKERS="2") as process:
        yield process


@pytest.fixture
def urls(database, redis_url) -> dict[str, str]:
    return {"DATABASE_URL": database, "REDIS_URL": redis_url, "API_WORKERS": "1", "API_THREADS": "2"}


def test_a_job_is_made_and_read_over_the_network(served):
    made = served.post(JOBS, {"type": "a", "payload": {"x": 1}})
    assert made.status == 201
    read = served.request("GET", made.headers["location"])
    assert (read.json, read.headers["etag"]) == (made.json, '"1"')
    head = served.request("HEAD", made.headers["location"])
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", read.headers["content-length"])


def test_t7_one_key_from_many_connections_and_processes_makes_one_job(served):
    def send(_):
        return served.request("POST", JOBS, b'{"type":"a"}', JSON | {"Idempotency-Key": "the one"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(40)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1


def test_d41_a_body_is_bounded_by_its_header_and_while_it_is_read(served):
    large = b" " * (2**20 + 2**16 + 1)
    assert served.request("POST", JOBS, large, JSON).status == 413
    chunks = (b" " * 65_536 for _ in range(40))
    answer = served.request("POST", JOBS, chunks, JSON | {"Transfer-Encoding": "chunked"}, chunked=True)
    assert (answer.status, answer.json["code"]) == (413, "too_large")
    chunks = iter([b'{"ty', b'pe":"a"', b"}"])
    answer = served.request("POST", JOBS, chunks, JSON | {"Transfer-Encoding": "chunked"}, chunked=True)
    assert answer.status == 201


@pytest.mark.parametrize("method", ["PROPFIND", "BREW", "PUT"])
def test_d52_a_method_that_nobody_knows_is_a_problem(served, method):
    answer = served.request(method, JOBS)
    assert (answer.status, answer.json["code"]) == (405, "method_not_allowed")
    assert {"GET", "HEAD", "POST"} <= set(answer.headers["allow"].split(", "))


def test_metrics_are_summed_over_the_processes(served):
    for _ in range(20):
        served.request("GET", "/health")
    text = served.request("GET", "/metrics").body.decode()
    (line,) = (
        line for line in text.splitlines() if line.startswith('ledger_http_requests_total{method="GET",route="/health"')
    )
    assert float(line.split()[-1]) >= 20


def test_it_leaves_with_0_and_every_line_it_said_is_json(urls):
    with api_process(**urls) as process:
        assert process.post(JOBS, {"type": "a"}).status == 201
        assert process.stop(signal.SIGTERM) == 0
        events = [json.loads(line)["event"] for line in process.log]
        assert events[0] == "listening"
        assert events[-1] == "stopped"
        assert "request" in events


def test_d53_the_api_ends_with_1_where_its_port_is_taken(urls):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = refused_start("--port", str(taken.getsockname()[1]), **urls)
    assert code == 1
    assert "cannot listen" in said


def test_d50_an_open_address_needs_keys_or_insecure(urls):
    code, said = refused_start("--host", "0.0.0.0", **urls)
    assert code == 2
    assert "--insecure" in said
    with api_process("--host", "0.0.0.0", "--insecure", **urls) as process:
        assert process.request("GET", JOBS + "/x", headers={"Host": "ledger.example"}).status == 404


def test_a_bad_setting_ends_it_with_2(urls):
    code, said = refused_start(**urls | {"API_THREADS": "many"})
    assert code == 2
    assert "API_THREADS=many" in said


def test_t4_it_starts_without_postgres_and_becomes_ready_by_itself(private_postgres, redis_url):
    migrate(private_postgres.url)
    private_postgres.stop()
    environment = {"DATABASE_URL": private_postgres.url, "REDIS_URL": redis_url, "API_WORKERS": "1"}
    with api_process(**environment) as process:
        assert process.request("GET", "/health").status == 200
        for path in ("/ready", "/startupz"):
            assert process.request("GET", path).status == 503
        assert process.post(JOBS, {"type": "a"}).status == 503
        private_postgres.start()
        until(lambda: process.request("GET", "/ready").status == 200)
        made = process.post(JOBS, {"type": "a"})
        assert made.status == 201
        private_postgres.stop()
        until(lambda: process.post(JOBS, {"type": "a"}).status == 503)
        assert process.request("GET", "/ready").status == 503
        assert process.request("GET", "/startupz").status == 200
        private_postgres.start()
        until(lambda: process.post(JOBS, {"type": "a"}).status == 201)
        assert process.request("GET", made.headers["location"]).json == made.json
