"""The probes' door: a small HTTP server for processes that serve nothing else, on threads of its own.

`/health` and `/livez` depend on nothing outside the process, `/ready` and `/readyz` on its servers, `/startupz` on the
first time it was ready; `/metrics` is for Prometheus. Bodies are those of the API's own probes. The port is bound when
the object is made, so that one that cannot be had ends the process at its start. No key is asked for: what is here
holds no job's data.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import orjson
import structlog

if TYPE_CHECKING:
    from typing import Self

log = structlog.get_logger()

Checks = Mapping[str, str]

JSON = "application/json"
PROBLEM = "application/problem+json"
TEXT = "text/plain; version=0.0.4; charset=utf-8"

_AT_ONCE = 32
"""Requests; a flood of them is refused, for a probe that waits in a queue says nothing."""
_TITLES = {
    "not_found": "Nothing is here",
    "method_not_allowed": "The method is not allowed here",
    "unavailable": "Not available at this moment",
}


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a process can say of itself."""

    standing_still: Callable[[], str | None]
    """What should have moved long ago and has not; None while it is alive."""
    checks: Callable[[], Checks]
    """Each of its servers, and in what state it is."""
    is_ready: Callable[[Checks], bool]
    metrics: Callable[[], bytes]


class Answer(NamedTuple):
    status: HTTPStatus
    body: bytes
    media: str = JSON


class Probes:
    """Answers until closed. Raises OSError where it cannot listen."""

    def __init__(self, host: str, port: int, vitals: Vitals) -> None:
        self._vitals = vitals
        self._was_ready = False
        self._routes: dict[str, Callable[[], Answer]] = {
            "/health": self._alive,
            "/livez": self._alive,
            "/ready": self._ready,
            "/readyz": self._ready,
            "/startupz": self._started,
            "/metrics": self._metrics,
        }
        self._server = _Server(host, port, self.answer)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="probes", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        log.info("probes listening", port=self.port)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> Answer:
        route = self._routes.get(path)
        return problem("not_found", f"there is no {path} here", path) if route is None else route()

    def _alive(self) -> Answer:
        still = self._vitals.standing_still()
        return _ok({"status": "ok"}) if still is None else problem("unavailable", still, "/livez")

    def _ready(self) -> Answer:
        checks = self._vitals.checks()
        if self._vitals.is_ready(checks):
            self._was_ready = True
            return _ok({"status": "ready", "checks": checks})
        return problem("unavailable", _detail(checks), "/readyz", checks=checks)

    def _started(self) -> Answer:
        if not self._was_ready and (answer := self._ready()).status is not HTTPStatus.OK:
            return answer
        return _ok({"status": "started"})

    def _metrics(self) -> Answer:
        return Answer(HTTPStatus.OK, self._vitals.metrics(), TEXT)


def problem(code: str, detail: str, instance: str, **members: Any) -> Answer:
    """Return a refusal in the shape of all refusals."""
    status = {
        "not_found": HTTPStatus.NOT_FOUND,
        "method_not_allowed": HTTPStatus.METHOD_NOT_ALLOWED,
        "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    }[code]
    resource: dict[str, Any] = {
        "type": f"urn:ledger:problem:{code}",
        "title": _TITLES[code],
        "status": status.value,
        "detail": detail,
        "instance": instance,
        "code": code,
        "error": detail,
        "request_id": None,
        "errors": [],
        **members,
    }
    return Answer(status, orjson.dumps(resource), PROBLEM)


def _ok(body: dict[str, Any]) -> Answer:
    return Answer(HTTPStatus.OK, orjson.dumps(body))


def _detail(checks: Checks) -> str:
    return "not ready: " + ", ".join(f"{name} is {state}" for name, state in checks.items() if state != "ok")


class _Server(ThreadingMixIn, TCPServer):
    """Not http.server's own, which asks the name service for its name before it listens."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: str, port: int, answer: Callable[[str], Answer]) -> None:
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self.answer = answer
        self._free = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        del request, client_address
        log.debug("probe cut off")


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride] — it is made by no other
    timeout = 5.0
    server_version = "Ledger"
    sys_version = ""

    def do_GET(self) -> None:
        self._reply(self.server.answer(urlsplit(self.path).path))

    do_HEAD = do_GET  # noqa: N815 — the name that the standard library looks for

    def _refuse(self) -> None:
        path = urlsplit(self.path).path
        self._reply(problem("method_not_allowed", f"{path} takes GET and HEAD", path))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815

    def _reply(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.media)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        if answer.status is HTTPStatus.SERVICE_UNAVAILABLE:
            self.send_header("Retry-After", "1")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 — the standard library's name
        del format, arguments  # a probe every second is no news
