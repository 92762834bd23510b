"""What comes over a connection, byte by byte: slow clients, pieces, requests in a row, and what must not be taken for
one."""

from __future__ import annotations

import json
import re
import socket
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import ParseException
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from hypothesis import example, given
from hypothesis import strategies as st
from ledger_api.connection import Connection, Plain
from ledger_api.exchange import Answer, Environ

from tests.support.api_process import api_process

if TYPE_CHECKING:
    from collections.abc import Generator

BODY = b'{"type":"a"}'
HEAD = b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
SMUGGLED = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def served(module_database, servers):
    environment = {"DATABASE_URL": module_database, "REDIS_URL": servers.redis_url}
    with api_process(**environment, API_WORKERS="1", API_THREADS="2", API_TIMEOUT="1s") as process:
        yield process


@contextmanager
def line_to(served: Any) -> Generator[socket.socket]:
    with socket.create_connection(("127.0.0.1", served.port), 20) as sock:
        yield sock


def all_said(sock: socket.socket) -> bytes:
    """Return everything until the server hangs up."""
    said = b""
    while part := sock.recv(65_536):
        said += part
    return said


def statuses(said: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", said)]


def test_f30_slow_clients_hold_no_thread(served):
    with ExitStack() as stack:
        socks = [stack.enter_context(line_to(served)) for _ in range(8)]
        for sock in socks[:4]:
            sock.sendall(HEAD[:40])
        for sock in socks[4:]:
            sock.sendall(HEAD + BODY[:4])
        probe = HTTPConnection("127.0.0.1", served.port, timeout=10)
        probe.request("GET", "/health")
        assert probe.getresponse().status == 200
        probe.close()
        for sock in socks[:4]:
            sock.sendall(HEAD[40:] + BODY)
        for sock in socks[4:]:
            sock.sendall(BODY[4:])
        assert [statuses(sock.recv(65_536)) for sock in socks] == [[201]] * 8


def test_f30_who_is_refused_and_stays_holds_no_thread(served):
    with ExitStack() as stack:
        socks = [stack.enter_context(line_to(served)) for _ in range(40)]
        for sock in socks:
            sock.sendall(b"NONSENSE\r\n\r\n")
        probe = HTTPConnection("127.0.0.1", served.port, timeout=10)
        probe.request("GET", "/health")
        assert probe.getresponse().status == 200
        probe.close()
        assert [statuses(all_said(sock)) for sock in socks] == [[400]] * 40


def test_f30_who_does_not_read_the_answer_is_given_up(served):
    place = served.post("/api/v1/jobs", {"type": "a", "payload": {"x": "y" * 1_000_000}}).headers["location"]
    with ExitStack() as stack:
        for _ in range(2):
            sock = stack.enter_context(line_to(served))
            sock.sendall(f"GET {place} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 20)
        probe = HTTPConnection("127.0.0.1", served.port, timeout=20)
        probe.request("GET", "/health")
        assert probe.getresponse().status == 200
        probe.close()


@pytest.mark.parametrize("path", [b"/api/v1/jobs", b"/api/v1/none"])
@pytest.mark.parametrize("framing", [b"Content-Length: 500000", b"Transfer-Encoding: chunked"])
def test_f30_a_body_that_drips_is_given_up(served, path, framing):
    with line_to(served) as sock:
        sock.sendall(b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + framing)
        sock.sendall(b"\r\n\r\n")
        sock.settimeout(0.1)
        said = b""
        for _ in range(150):
            try:
                sock.sendall(b"1\r\n \r\n" if framing.endswith(b"chunked") else b" ")
                part = sock.recv(65_536)
            except TimeoutError:
                continue
            except OSError:
                break
            if not part:
                break
            said += part
        else:
            pytest.fail("the server still waits")
        assert statuses(said) == [404 if path.endswith(b"none") else 503]


def test_a_request_may_come_in_pieces_and_another_right_behind_it():
    text = HEAD + BODY + HEALTH
    for cut in range(1, len(text)):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            connection = Connection(Config(), ours, ("127.0.0.1", 1), ("127.0.0.1", 2))
            found = []
            for piece in (text[:cut], text[cut:]):
                theirs.sendall(piece)
                assert connection.hear()
                while (request := connection.request()) is not None:
                    found.append((request.method, request.path, request.body.read()))
                    assert connection.finish(request)
            assert found == [("POST", "/api/v1/jobs", BODY), ("GET", "/health", b"")]
            assert connection.hear()
            assert connection.request() is None
            theirs.close()
            assert not connection.hear()


BAD_HEADS = {
    "both lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 4\r\n\r\n",
    "one length twice": b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\ncontent-length: 0\r\n\r\n",
    "a list of lengths": b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n",
    "a signed length": b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n",
    "a length in hex": b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 0x0\r\n\r\n",
    "a length with underscore": b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 0_0\r\n\r\n",
    "a superscript": "POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: \xb2\r\n\r\n".encode("latin-1"),
    "no length": b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
    "a blank before the colon": b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length : 0\r\n\r\n",
    "chunked twice": b"POST /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "another coding": b"POST /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "no coding": b"POST /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
    "chunks of 1.0": b"POST /health HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a folded line": b"GET /health HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n",
    "lines ended by LF": b"GET /health HTTP/1.1\nHost: a\n\n",
    "one line ended by LF": b"GET /health HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n",
    "a lone CR": b"GET /health HTTP/1.1\r\nHost: a\rX-A: b\r\n\r\n",
    "a null": b"GET /health HTTP/1.1\r\nHost: a\r\nX-A: \x00\r\n\r\n",
    "no colon": b"GET /health HTTP/1.1\r\nHost: a\r\nX-A\r\n\r\n",
    "no name": b"GET /health HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "two blanks": b"GET  /health HTTP/1.1\r\nHost: a\r\n\r\n",
    "a small method": b"get /health HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": b"GET /health\r\nHost: a\r\n\r\n",
    "HTTP/2": b"GET /health HTTP/2.0\r\nHost: a\r\n\r\n",
    "another expectation": b"GET /health HTTP/1.1\r\nHost: a\r\nExpect: gold\r\n\r\n",
    "many headers": b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 100 + b"\r\n",
    "a long header": b"GET /health HTTP/1.1\r\nHost: a\r\nX-A: " + b"b" * 8190 + b"\r\n\r\n",
    "a long line": b"GET /health?" + b"b" * 8190 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a head without end": b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 10_000,
}


@pytest.mark.parametrize("head", BAD_HEADS.values(), ids=BAD_HEADS)
def test_what_two_could_read_differently_is_refused_and_nothing_behind_it_is_read(served, head):
    with line_to(served) as sock:
        sock.sendall(head + SMUGGLED)
        sock.shutdown(socket.SHUT_WR)
        said = all_said(sock)
    head, _, body = said.partition(b"\r\n\r\n")
    assert statuses(said) == [400]
    assert b"\r\nConnection: close" in head
    assert json.loads(body)["code"] == "malformed_request"


@pytest.mark.parametrize(
    "body", [b"5\r\nhello\r\n0\r\n", b"z\r\n", b"5\nhello\r\n0\r\n\r\n", b"2\r\nhello\r\n0\r\n\r\n"]
)
def test_chunks_that_are_none_end_the_connection(served, body):
    head = HEAD.replace(b"Content-Length: 12", b"Transfer-Encoding: chunked")
    with line_to(served) as sock:
        sock.sendall(head + body)
        sock.shutdown(socket.SHUT_WR)
        assert statuses(all_said(sock)) == [400]


def test_answers_without_a_body_leave_the_next_one_where_it_is_looked_for(served):
    made = served.post("/api/v1/jobs", {"type": "a"})
    place = made.headers["location"].encode()
    with line_to(served) as sock:
        sock.sendall(
            b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
            b"GET " + place + b' HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: "1"\r\n\r\n'
            b"HEAD " + place + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        said = all_said(sock)
    assert statuses(said) == [200, 304, 200]
    heads = said.split(b"\r\n\r\n")
    assert len(heads) == 4
    assert heads[3] == b""
    assert b"content-length" not in heads[1].lower()


def test_a_connection_is_kept_for_so_long_after_the_answer(monkeypatch):
    now = 100.0
    monkeypatch.setattr("ledger_api.connection.time", SimpleNamespace(monotonic=lambda: now))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = Connection(Config(), ours, ("127.0.0.1", 1), ("127.0.0.1", 2))
        theirs.sendall(HEALTH)
        assert connection.hear()
        request = connection.request()
        now += 50  # to answer it took its time
        assert connection.finish(request)
        assert connection.ends_at == now + Config().keepalive


@pytest.mark.parametrize(
    ("version", "connection", "stays"),
    [
        (b"1.1", None, True),
        (b"1.1", b"keep-alive", True),
        (b"1.1", b"Keep-Alive", True),
        (b"1.1", b"close", False),
        (b"1.1", b"Close", False),
        (b"1.0", None, False),
        (b"1.0", b"keep-alive", True),
        (b"1.0", b"close", False),
    ],
)
def test_a_connection_is_kept_where_both_want_it(served, version, connection, stays):
    wish = b"" if connection is None else b"Connection: " + connection + b"\r\n"
    with line_to(served) as sock:
        sock.sendall(b"GET /health HTTP/" + version + b"\r\nHost: localhost\r\n" + wish + b"\r\n" + HEALTH)
        sock.shutdown(socket.SHUT_WR)
        said = all_said(sock)
    assert statuses(said) == [200, 200] if stays else [200]
    assert (b"\r\nConnection: keep-alive\r\n" in said) == stays


def test_a_body_is_asked_for_where_the_client_waits_to_be(served):
    with line_to(served) as sock:
        sock.sendall(HEAD[:-2] + b"Expect: 100-continue\r\n\r\n")
        assert sock.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(BODY + HEALTH)
        sock.shutdown(socket.SHUT_WR)
        assert statuses(all_said(sock)) == [201, 200]
    with line_to(served) as sock:  # who speaks 1.0 cannot know the word
        sock.sendall(HEAD[:-2].replace(b"HTTP/1.1", b"HTTP/1.0") + b"Expect: 100-continue\r\n\r\n" + BODY)
        assert statuses(all_said(sock)) == [201]


def test_nobody_is_believed_in_headers_what_the_request_itself_does_not_say(served):
    place = served.post("/api/v1/jobs", {"type": "a"}).headers["location"]
    served.request("DELETE", place)
    plain = served.request("GET", place + "/events?limit=1")
    assert "next" in plain.headers["link"]
    claims = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Protocol": "ssl",
        "X-Forwarded-Ssl": "off",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "for=203.0.113.7;proto=https;host=evil.example",
        "Script_Name": "/evil",
        "Path_Info": "/evil",
    }
    for more in ({}, {"Connection": "close"}):  # read at a glance, and by gunicorn
        claimed = served.request("GET", place + "/events?limit=1", headers=claims | more)
        assert (claimed.status, claimed.json) == (200, plain.json)
        assert claimed.headers["link"] == plain.headers["link"]


def test_a_header_that_would_end_itself_is_never_sent():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for value in ("a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\x00b"):
            answer = Answer(Plain(("GET", "/", "/", ""), {}, b""), stays=True)
            answer.start("200 OK", [("Link", value)])
            with pytest.raises(ValueError, match="control character"):
                answer.send(ours, [b""])
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)


LINES = st.sampled_from(
    ["GET / HTTP/1.1", "POST /a?b=c HTTP/1.1", "PUT //a/../%41?d?e HTTP/1.1", "DELETE /a#b HTTP/1.1",
     "OPTIONS * HTTP/1.1", "GET /a HTTP/1.0", "HEAD http://a/b HTTP/1.1", "GET /\xe9 HTTP/1.1", "GET ? HTTP/1.1",
     "PATCH /[a]|{b}\\^`'<>; HTTP/1.1", "get / HTTP/1.1", "TRACE / HTTP/1.1", "GET /?"]
)  # fmt: skip
NAMES = st.sampled_from(
    ["Host", "host", "Content-Type", "Content-Length", "content-length", "Connection", "X-A", "x_a", "Expect",
     "Transfer-Encoding", "Upgrade", "X'A", "X A", "", "1"]
)  # fmt: skip
VALUES = st.sampled_from(
    ["", "0", "3", "03", "+3", "3 ", "a:b", "\ta\t", "chunked", "close", "Keep-Alive", "100-continue", "close, a",
     "\xe9", "\x00", "a\rb", "a\nb", "a" * 9000, "application/json"]
)  # fmt: skip
FIELDS = st.lists(st.tuples(NAMES, st.sampled_from([":", ": ", " :", ":  "]), VALUES), max_size=5)


@given(LINES, FIELDS)
@example("GET / HTTP/1.1", [("X-A", ": ", "b")] * 101)
def test_what_is_read_at_a_glance_is_what_gunicorn_reads(line, fields):
    text = "\r\n".join([line, *("".join(field) for field in fields), "", ""]).encode("latin-1") + b"{}\n"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(text)
        theirs.shutdown(socket.SHUT_WR)
        connection = Connection(Config(), ours, ("127.0.0.1", 1), ("127.0.0.1", 2))
        connection.hear()
        try:
            found = connection.request()
        except ParseException:
            return
        if not isinstance(found, Plain):
            return
        unreader = IterUnreader([text])
        wanted: Any = Request(Config(), unreader, ("203.0.113.7", 1))
        assert found.version == wanted.version
        assert found.should_close() == wanted.should_close()
        environ = Environ(Config())
        ends = ("127.0.0.1", 1), ("127.0.0.1", 2)
        seen, theirs_ = environ.of(found, *ends), environ.of(wanted, *ends)
        assert seen.pop("wsgi.input").read() == theirs_.pop("wsgi.input").read()
        assert seen == theirs_
        assert connection._heard == unreader.take_buffered()
