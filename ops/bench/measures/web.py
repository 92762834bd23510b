"""The HTTP API under load: wrk where it is installed, else a client of our own, which is slower and says so."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any

from ledger import dev
from ledger.cli_output import Failure
from ledger.runtime.processes import Order
from ops.bench.venvs import HOME

if TYPE_CHECKING:
    from pathlib import Path

    from ops.bench.session import Session
    from ops.bench.sizes import Sizes

CLIENTS = 16
BULK_CLIENTS = 4
BULK = 1_000
READY_WITHIN = 30.0
SETTLE = 1.0
"""Seconds after the first worker answers in which the second comes: connections stay where they were taken."""


def _free_port() -> int:
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        return candidate.getsockname()[1]


PORT = _free_port()
URL = f"http://127.0.0.1:{PORT}"
LOG = HOME / "logs" / "api.log"
_COMMAND = [sys.executable, "-m", "ledger", "api", "--port", str(PORT), "--workers", "2"]
ORDER = Order("api", ["/bin/sh", "-c", 'exec "$@" > "$0" 2>&1', str(LOG), *_COMMAND])
"""Its line a request goes to a file: to read it here would take the API's time."""


def measure(session: Session, sizes: Sizes, place: Path) -> dict[str, Any]:
    await_ready(session)
    session.watch(SETTLE)
    job = {"type": "bench.noop", "payload": {"number": 0}}
    bulk = {"jobs": [job] * BULK}
    before = session.cpu()
    one = _load(place, "/api/v1/jobs", job, CLIENTS, sizes.http_seconds)
    used = session.cpu()
    many = _load(place, "/api/v1/jobs/bulk", bulk, BULK_CLIENTS, sizes.http_seconds)
    jobs = one["requests_per_s"] * sizes.http_seconds
    return {
        "http_per_s": one["requests_per_s"],
        "http_p99_ms": one["p99_ms"],
        "http_api_us": (used["api"] - before["api"]) / jobs * 1e6,
        "http_bulk_jobs_per_s": many["requests_per_s"] * BULK,
        "http_with_wrk": float(shutil.which("wrk") is not None),
    }


def await_ready(session: Session) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while not dev.ready(URL):
        if time.monotonic() > deadline:
            raise Failure("the API did not become ready")
        session.watch(0.1)


def _load(place: Path, path: str, body: dict[str, Any], clients: int, seconds: float) -> dict[str, float]:
    with urllib.request.urlopen(_request(path, body), timeout=30) as answer:  # a first one, and proof that it is right
        if answer.status != 201:
            raise Failure(f"POST {path} answers {answer.status}")
    (place / "body.json").write_text(json.dumps(body))
    if shutil.which("wrk"):
        return _wrk(place, path, clients, seconds)
    command = [sys.executable, "-m", "ops.bench.measures.posting", URL + path, str(place / "body.json"),
               str(clients), str(seconds)]  # fmt: skip
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout)


def _wrk(place: Path, path: str, clients: int, seconds: float) -> dict[str, float]:
    script = place / "post.lua"
    script.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f'local file = io.open("{place / "body.json"}")\nwrk.body = file:read("*a")\nfile:close()\n'
    )
    command = ["wrk", "-t2", f"-c{clients}", f"-d{max(int(seconds), 1)}s", "--latency", "--timeout", "30s",
               "-s", str(script), URL + path]  # fmt: skip
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
    if "Non-2xx" in text or (rate := re.search(r"Requests/sec:\s+([\d.]+)", text)) is None:
        raise Failure(f"wrk was refused:\n{text}")
    slow = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    unit = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    return {"requests_per_s": float(rate[1]), "p99_ms": float(slow[1]) * unit[slow[2]] if slow else 0.0}


def _request(path: str, body: dict[str, Any]) -> urllib.request.Request:
    return urllib.request.Request(URL + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
