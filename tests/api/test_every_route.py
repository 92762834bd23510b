"""What holds for every route: HEAD, unknown parameters and methods, problems, names of requests, browsers, probes."""

from __future__ import annotations

import socket

import pytest
from ledger_api.app import create_app
from ledger_projections.queries import Queries

from ledger import Ledger
from ledger.settings import from_env
from tests.support.api import NOBODY, Api, problem

READS = ["/jobs", f"/jobs/{NOBODY}", f"/jobs/{NOBODY}/events", "/queues", "/queues/x/depth", "/queues/x/stats",
         "/dlq", f"/dlq/{NOBODY}"]  # fmt: skip
WRITES = ["/jobs", *(f"/jobs/{NOBODY}/{verb}" for verb in ("cancel", "retry", "run-now")), f"/dlq/{NOBODY}/retry"]
PROBES = ["/health", "/livez", "/ready", "/readyz", "/startupz", "/metrics"]


@pytest.fixture
def away(redis_url) -> Api:
    """The API while nobody answers where Postgres should be."""
    settings = from_env({})
    ledger = Ledger(database_url="postgresql://x@127.0.0.1:1/x", redis_url=redis_url, settings=settings)
    return Api(create_app(ledger, Queries(ledger.database), settings))


@pytest.mark.parametrize("path", READS)
def test_every_get_answers_head(api, refresh, path):
    refresh()
    head, got = api.send("HEAD", path), api.get(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["Content-Type"] == got.headers["Content-Type"]


@pytest.mark.parametrize("path", PROBES)
def test_every_probe_answers_head(api, path):
    head = api.probe(path, "HEAD")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("path", READS)
def test_an_unknown_parameter_is_refused(api, path):
    problem(api.get(f"{path}?colour=red"), 400, "invalid_parameter")


@pytest.mark.parametrize("path", WRITES)
def test_an_unknown_parameter_of_a_change_is_refused(api, path):
    problem(api.post(f"{path}?colour=red", {}), 400, "invalid_parameter")


@pytest.mark.parametrize("path", ["/nothing", "/jobs/", "/dlq/x/y/z", "/queues/x"])
def test_d52_an_unknown_route_is_a_problem(api, path):
    problem(api.get(path), 404, "not_found")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE"])
def test_d52_a_method_that_is_not_allowed_is_a_problem(api, method):
    answer = api.send(method, "/jobs")
    problem(answer, 405, "method_not_allowed")
    assert {"GET", "HEAD", "POST"} <= set(answer.headers["Allow"].split(", "))


def test_a_request_has_a_name(api):
    assert api.get("/jobs?x=1", headers={"X-Request-Id": "my-1"}).json["request_id"] == "my-1"
    for bad in ("x" * 129, "two words", ""):
        assert api.probe("/health").headers["X-Request-Id"] != bad
        made = api.get("/jobs?x=1", headers={"X-Request-Id": bad}).headers["X-Request-Id"]
        assert made != bad
        assert made


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Host": "evil.example"},
    ],
)
def test_d50_a_page_of_another_site_may_change_nothing(api, headers):
    problem(api.post("/jobs", {"type": "a"}, headers=headers), 403, "forbidden")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8080"},
        {"Origin": "http://127.0.0.1:8080"},
        {"Sec-Fetch-Site": "cross-site", "Authorization": "Bearer x"},
        {"Host": "localhost"},
        {"Host": "[::1]:8080"},
    ],
)
def test_everybody_else_may(api, headers):
    assert api.post("/jobs", {"type": "a"}, headers=headers).status_code == 201


def test_d48_the_probes_tell_what_they_found(api):
    assert api.probe("/health").json == api.probe("/livez").json == {"status": "ok"}
    ready = {"status": "ready", "checks": {"postgres": "ok", "migrations": "ok", "redis": "ok"}}
    assert api.probe("/ready").json == api.probe("/readyz").json == ready
    assert api.probe("/startupz").json == {"status": "started"}


def test_d48_without_postgres_it_is_alive_and_not_ready(away):
    assert away.probe("/health").status_code == 200
    for path in ("/ready", "/readyz", "/startupz"):
        found = problem(away.probe(path), 503, "unavailable")
        assert found["checks"] == {"postgres": "unavailable", "migrations": "unknown", "redis": "ok"}
    assert away.probe("/metrics").status_code == 200


def test_t4_without_postgres_nothing_is_acknowledged(away):
    answers = [away.post("/jobs", {"type": "a"}), away.get("/jobs"), away.get(f"/jobs/{NOBODY}"), away.get("/queues")]
    for answer in answers:
        problem(answer, 503, "unavailable")
        assert int(answer.headers["Retry-After"]) >= 1


def test_without_migrations_it_is_not_ready(empty_database, redis_url):
    settings = from_env({})
    ledger = Ledger(database_url=empty_database, redis_url=redis_url, settings=settings)
    api = Api(create_app(ledger, Queries(ledger.database), settings))
    assert problem(api.probe("/ready"), 503, "unavailable")["checks"]["migrations"] == "pending"
    ledger.close()


def test_without_redis_it_is_ready_and_takes_jobs(module_database):
    settings = from_env({})
    ledger = Ledger(database_url=module_database, redis_url="redis://127.0.0.1:1/0", settings=settings)
    api = Api(create_app(ledger, Queries(ledger.database), settings))
    assert api.probe("/ready").json["checks"]["redis"] == "unavailable"
    assert api.post("/jobs", {"type": "a"}).status_code == 201
    ledger.close()


def test_a_redis_that_hangs_is_reported_like_one_that_is_away(module_database):
    settings = from_env({})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        ledger = Ledger(database_url=module_database, redis_url=url, settings=settings)
        api = Api(create_app(ledger, Queries(ledger.database), settings))
        assert api.probe("/ready").json["checks"]["redis"] == "unavailable"
        ledger.close()


def test_requests_and_the_system_are_measured(api, refresh):
    api.post("/jobs", {"type": "a"})
    refresh()
    text = api.probe("/metrics").text
    for line in (
        'ledger_http_requests_total{method="POST",route="/api/v1/jobs",status="201"}',
        "ledger_http_request_duration_seconds_bucket",
        'ledger_jobs{queue="default",state="ready"}',
        'ledger_projection_lag_seconds{projection="jobs"}',
        "ledger_build_info{version=",
        "process_cpu_seconds_total",
    ):
        assert line in text, line
