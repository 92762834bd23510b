"""The server processes: gunicorn, embedded, with threads; it is set up by our settings alone, never by its own files.

The socket is bound here before anything is forked, so a port that cannot be had ends the command at once. Each process
builds its application after the fork, with connections of its own. SIGTERM lets running requests finish.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from gunicorn import util
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.http.errors import ChunkMissingTerminator, InvalidChunkSize, ParseException

from ledger.runtime import garbage
from ledger_api.problems import MEDIA_TYPE, Problem, internal_error
from ledger_api.threads import Shares, Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ledger.settings import Settings

log = structlog.get_logger()

BACKLOG = 1024
GRACE = 30
"""Seconds for which SIGTERM lets running requests finish."""


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise OSError where there is none to be had."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class Server(BaseApplication):
    """Serves what `build` returns in each process, until a signal ends it."""

    def __init__(self, build: Callable[[], Any], listener: socket.socket, settings: Settings) -> None:
        self._build, self._listener, self._settings = build, listener, settings
        super().__init__()

    def load_config(self) -> None:
        shares = Shares(self._settings.api_workers)

        def enter(_: object, worker: _Worker) -> None:
            worker.shares, worker.place = shares, shares.take(worker.age)

        def leave(_: object, worker: _Worker) -> None:
            shares.leave(worker.age)

        options: dict[str, object] = {
            "bind": [f"fd://{self._listener.fileno()}"],
            "workers": self._settings.api_workers,
            "worker_class": _Worker,
            "threads": self._settings.api_threads,
            "keepalive": 75,
            "graceful_timeout": GRACE,
            "timeout": 60,
            "logger_class": _Log,
            "accesslog": None,
            "worker_tmp_dir": "/dev/shm" if os.path.isdir("/dev/shm") else None,  # noqa: PTH112, S108 — its heartbeat file must not wait for a disk
            "pre_fork": enter,
            "child_exit": leave,
            "post_worker_init": _settle,
            "on_exit": _say_stopped,
        }
        if "control_socket_disable" in self.cfg.settings:  # newer releases open a socket for commands: nobody asked
            options["control_socket_disable"] = True
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return self._build()


def _settle(_: object) -> None:
    garbage.settle()


def _say_stopped(_: object) -> None:
    log.info("stopped")


class _Worker(Threads):
    """Threads, and our own words where gunicorn cannot make a request of what was sent."""

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        del addr
        request_id = os.urandom(12).hex()
        if isinstance(exc, (ParseException, InvalidChunkSize, ChunkMissingTerminator)):
            # Only what kind of error it is: its text quotes the headers, and one of them may be a key.
            log.warning("unreadable request", error=type(exc).__name__, request_id=request_id)
            problem = Problem("malformed_request", "this is no HTTP request that can be read")
        else:
            log.error("unexpected error", exc_info=exc, request_id=request_id)
            problem = internal_error()
        with suppress(OSError):
            util.write_nonblock(client, _answer(problem, getattr(req, "path", None) or "/", request_id))


def _answer(problem: Problem, path: str, request_id: str) -> bytes:
    body = problem.body(path, request_id)
    headers = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": len(body),
        "Connection": "close",
        "X-Request-Id": request_id,
    }
    lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Log(Logger):
    """gunicorn's words through our logging, which the command has set up."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self.error_log.propagate = True
        self.error_log.handlers = []
        self.error_log.setLevel(logging.WARNING)  # what it does is said by the command itself
        self.access_log.handlers = []


@contextmanager
def shared_metrics() -> Generator[None]:
    """Give the processes a fresh directory in which they sum up their metrics; before prometheus-client is imported."""
    owner = os.getpid()
    directory = tempfile.mkdtemp(prefix="ledger-api-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
    try:
        yield
    finally:
        if os.getpid() == owner:  # a serving process that ends comes by here too
            shutil.rmtree(directory, ignore_errors=True)
