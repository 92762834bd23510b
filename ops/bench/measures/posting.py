"""A plain HTTP load: so many clients, each a process with one connection. For machines without wrk."""

from __future__ import annotations

import http.client
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from ops.bench.figures import percentile


def _post(url: str, body: bytes, seconds: float) -> list[float]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    waits, ends = [], time.monotonic() + seconds
    while (begun := time.monotonic()) < ends:
        connection.request("POST", parts.path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 201:
            raise SystemExit(f"POST {parts.path} answers {answer.status}")
        waits.append((time.monotonic() - begun) * 1000)
    return waits


def main(url: str, body: str, clients: str, seconds: str) -> None:
    count = int(clients)
    with ProcessPoolExecutor(count) as pool:
        shares = pool.map(_post, [url] * count, [Path(body).read_bytes()] * count, [float(seconds)] * count)
        waits = [wait for share in shares for wait in share]
    print(json.dumps({"requests_per_s": len(waits) / float(seconds), "p99_ms": percentile(waits, 0.99)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
