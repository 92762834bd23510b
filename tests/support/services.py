"""A service as its users start it: `ledger worker`, `projector` or `scheduler`, with probes on a free port."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support.api_process import PATIENCE, Answer, bare, until
from tests.support.working import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator


class ServiceProcess:
    """A command that stays, its JSON log and its probes."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ledger", *arguments],
            cwd=ROOT,
            env=bare({"PROBE_PORT": "0"} | environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    @property
    def port(self) -> int:
        return until(lambda: self.said("probes listening"))[0]["port"]

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.lines)]

    def said(self, event: str) -> list[dict[str, Any]]:
        assert self.process.poll() is None, self.lines
        return [line for line in self.log if line["event"] == event]

    def get(self, path: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def all_said(self) -> list[str]:
        """Return every line it has written, once it has ended."""
        self._reading.join(PATIENCE)
        return self.lines

    def metrics(self) -> dict[str, float]:
        """Return every sample, by name and labels as they are written."""
        lines = self.get("/metrics").body.decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            self.lines.extend(lines)


@contextmanager
def service(*arguments: str, **environment: str) -> Generator[ServiceProcess]:
    """A running service, told to stop at the end, and killed when it does not."""
    running = ServiceProcess(*arguments, **environment)
    try:
        yield running
    finally:
        running.process.terminate()
        try:
            running.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            running.process.kill()
            running.process.wait()
