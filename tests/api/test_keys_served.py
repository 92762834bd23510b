"""`ledger api` as a process and its keys: when it starts, what it never writes down, what it says to no HTTP at all."""

from __future__ import annotations

import base64
import json
import socket

import pytest

from ledger.api_keys import ApiKeys
from ledger.runtime.database import Database
from tests.support.api_process import ApiProcess, api_process, refused_start, until

SECRET = "canary-secret-0123456789"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def urls(database, redis_url) -> dict[str, str]:
    return {"DATABASE_URL": database, "REDIS_URL": redis_url, "API_WORKERS": "1", "API_THREADS": "2"}


@pytest.fixture
def stored(database):
    database_ = Database(database, size=1)
    yield ApiKeys(database_)
    database_.close()


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def statuses(process: ApiProcess, *headers: dict[str, str]) -> list[int]:
    return [process.request("GET", "/api/v1/workers", headers=each).status for each in headers]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
@pytest.mark.parametrize("flag", [(), ("--insecure",)])
def test_with_keys_of_the_environment_it_starts_anywhere_and_asks_for_one(urls, host, flag):
    with api_process("--host", host, *flag, API_KEYS=f"a:read:{SECRET}", **urls) as process:
        assert statuses(process, {}, bearer("wrong"), bearer(SECRET)) == [401, 401, 200]
        assert process.request("GET", "/health").status == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
@pytest.mark.parametrize("flag", [(), ("--insecure",)])
def test_with_a_key_of_the_table_it_starts_anywhere_and_asks_for_it(urls, stored, host, flag):
    _, secret = stored.create("a", "read", actor="cli:x")
    with api_process("--host", host, *flag, **urls) as process:
        assert statuses(process, {}, bearer("wrong"), bearer(secret)) == [401, 401, 200]


@pytest.mark.parametrize(("host", "flag"), [("127.0.0.1", ()), ("127.0.0.1", ("--insecure",)), ("localhost", ()),
                                            ("0.0.0.0", ("--insecure",))])  # fmt: skip
def test_without_keys_it_is_open_where_that_is_allowed(urls, host, flag):
    with api_process("--host", host, *flag, **urls) as process:
        assert statuses(process, {}) == [200]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.1.example", "10.0.0.1"])
def test_d50_without_keys_it_does_not_start_on_the_network(urls, host):
    code, said = refused_start("--host", host, **urls)
    assert code == 2
    for way_out in ("API_KEYS", "ledger key create", "127.0.0.1", "--insecure"):
        assert way_out in said


def test_a_table_of_ended_keys_or_one_that_cannot_be_read_is_no_key(urls, stored):
    made, _ = stored.create("a", "read", actor="cli:x")
    stored.revoke([made.id], actor="cli:x")
    assert refused_start("--host", "0.0.0.0", **urls)[0] == 2
    away = urls | {"DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}
    code, said = refused_start("--host", "0.0.0.0", **away)
    assert code == 2
    assert "cannot be used" in said


def test_a_key_made_or_revoked_while_it_runs_counts_within_moments(urls, stored):
    with api_process(**urls) as process:
        assert statuses(process, {}) == [200]
        made, secret = stored.create("a", "read", actor="cli:x")
        until(lambda: statuses(process, {}, bearer(secret)) == [401, 200])
        stored.revoke([made.id], actor="cli:x")
        until(lambda: statuses(process, {}, bearer(secret)) == [401, 401])


def raw(process: ApiProcess, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are; return status, headers and body of the one answer before the line is cut."""
    with socket.create_connection(("127.0.0.1", process.port), timeout=30) as line:
        line.sendall(request)
        answer = b"".join(iter(lambda: line.recv(65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return int(first.split()[1]), {k.lower(): v for k, v in (each.split(": ", 1) for each in rest)}, body


UNREADABLE = {
    "no request line": b"GARBAGE\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer %b\r\n\r\n" % SECRET.encode(),
    "a folded header": b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n %b\r\n\r\n" % SECRET.encode(),
    "HTTP of another world": b"GET / HTTP/9.9\r\n\r\n",
    "an endless line": b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a coding nobody knows": b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: nope\r\n\r\n",
    "chunks that are none": b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\nabc\r\n",
}


def test_d52_what_is_no_http_is_a_problem_too(urls):
    with api_process(**urls) as process:
        for name, request in UNREADABLE.items():
            status, headers, body = raw(process, request)
            assert (status, headers["content-type"]) == (400, "application/problem+json"), name
            assert int(headers["content-length"]) == len(body), name
            told = json.loads(body)
            assert (told["code"], told["status"]) == ("malformed_request", 400), name
            assert told["request_id"] == headers["x-request-id"], name
            assert SECRET not in body.decode(), name
        process.stop()
        assert not any(SECRET in line for line in process.log)
        assert all("level" in json.loads(line) for line in process.log)


def test_no_secret_is_ever_written_down_or_told(urls):
    guess = "guess-0123456789-abcdef"
    pair = base64.b64encode(f"a:{SECRET}".encode()).decode()
    told = ""
    with api_process(API_KEYS=f"a:read:{SECRET}", LOG_LEVEL="debug", **urls) as process:
        for authorization in (f"Bearer {SECRET}", f"Basic {pair}", f"Bearer {guess}", f"Basic {guess}", guess):
            headers = JSON | {"Authorization": authorization}
            for method, path in (("GET", "/api/v1/workers"), ("POST", "/api/v1/jobs"), ("GET", "/api/v1/nothing")):
                answer = process.request(method, path, b"{}" if method == "POST" else None, headers)
                told += answer.body.decode() + str(answer.headers)
        told += process.request("GET", "/metrics").body.decode()
        process.stop()
        told += "".join(process.log)
    assert '"actor":"api:a"' in told
    for secret in (SECRET, guess, pair):
        assert secret not in told


def test_no_secret_is_in_the_message_about_a_bad_setting(urls):
    code, said = refused_start(API_KEYS=f"a:owner:{SECRET}", **urls)
    assert code == 2
    assert "API_KEYS" in said
    assert SECRET not in said
