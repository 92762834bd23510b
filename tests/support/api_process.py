"""`ledger api` as its users start it: a command with an environment, a port, a log on stderr and an exit code."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

COMMAND = [sys.executable, "-c", "from ledger.cli import main; main()", "api"]
PATIENCE = 60.0


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ApiProcess:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port: int = until(self._listening)["port"]

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, *, chunked: bool = False
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers or {}, encode_chunked=chunked)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def post(self, path: str, body: Any) -> Answer:
        return self.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})

    def stop(self, sign: int = signal.SIGTERM) -> int:
        """Send the signal and return the exit code."""
        self.process.send_signal(sign)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            self.log.extend(lines)  # line by line: extend takes them from the pipe as they come

    def _listening(self) -> dict[str, Any] | None:
        assert self.process.poll() is None, self.log
        lines = (json.loads(line) for line in list(self.log))
        return next((line for line in lines if line["event"] == "listening"), None)


@contextmanager
def api_process(*arguments: str, **environment: str) -> Generator[ApiProcess]:
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *arguments],
        env=bare(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield ApiProcess(process)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(PATIENCE)


def refused_start(*arguments: str, **environment: str) -> tuple[int, str]:
    """Start what must not start; return the exit code and what was said."""
    done = subprocess.run(
        [*COMMAND, *arguments], env=bare(environment), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return done.returncode, done.stderr


def bare(environment: dict[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "VIRTUAL_ENV", "LANG") if name in os.environ}
    return kept | environment


def until(look: Callable[[], Any]) -> Any:
    """Return the first true value; fail when there is none within the time a slow machine needs."""
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come about"
        pause.wait(0.05)
    return found
