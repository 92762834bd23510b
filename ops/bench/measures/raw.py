"""What the servers themselves can do on this machine, in this run: the measure that ours are held against."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import redis

from ledger import ids
from ledger.runtime.statements import statement
from ops.bench.figures import percentile
from ops.bench.venvs import HOME

if TYPE_CHECKING:
    from collections.abc import Callable

    from ops.bench.servers import Servers
    from ops.bench.sizes import Sizes

_CREATE = statement("ops.bench", "create_raw")
_INSERT = statement("ops.bench", "insert_raw")
_COPY = statement("ops.bench", "copy_raw")
_DATA = '{"type":"bench.noop","max_retries":3,"timeout_seconds":300,"retry":{"backoff":"exponential"}}'
_BODY = '{"number":12345}'
STREAM, GROUP = "bench:raw", "bench"


def measure(servers: Servers, sizes: Sizes) -> dict[str, Any]:
    servers.empty()
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(_CREATE)
    return _postgres(servers, sizes) | _redis(servers, sizes) | {"raw_fdatasync_ms": _fdatasync(sizes)}


def _postgres(servers: Servers, sizes: Sizes) -> dict[str, float]:
    one = _inserts(servers.database_url, sizes.raw_seconds)
    with ThreadPoolExecutor(10) as pool:
        ten = sum(pool.map(lambda _: _inserts(servers.database_url, sizes.raw_seconds), range(10)))
    return {"raw_insert_per_s": one, "raw_insert_ten_per_s": ten, "raw_copy_per_s": _copied(servers, sizes.drained)}


def _inserts(url: str, seconds: float) -> float:
    """Insert a row like a job's first event and commit, over and over, on one connection."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection, connection.cursor() as cursor:
        return _rate(seconds, 1, lambda: cursor.execute(_INSERT, {"job_id": ids.mint(), "data": _DATA, "body": _BODY}))


def _copied(servers: Servers, rows: int) -> float:
    """Stream in as many rows as jobs are enqueued in bulk, in one statement, spelled before the clock starts."""
    lines = "".join(f"{ids.mint()}\t1\tenqueued\t1\tdefault\tbench\t{_DATA}\t{_BODY}\n" for _ in range(rows))
    with psycopg.connect(servers.database_url, autocommit=True) as connection, connection.cursor() as cursor:
        begun = time.monotonic()
        with cursor.copy(_COPY) as copy:
            copy.write(lines)
        return rows / (time.monotonic() - begun)


def _redis(servers: Servers, sizes: Sizes) -> dict[str, float]:
    message = {"job": str(ids.mint()), "version": "1", "attempt": "1", "type": "bench.noop"}
    with redis.Redis.from_url(servers.redis_url) as client:
        client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        one = _rate(sizes.raw_seconds, 1, lambda: client.xadd(STREAM, message))

        def hundred() -> None:
            with client.pipeline(transaction=False) as pipeline:
                for _ in range(100):
                    pipeline.xadd(STREAM, message)
                pipeline.execute()

        many = _rate(sizes.raw_seconds, 100, hundred)
        client.delete(STREAM)
        client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        for _ in range(max(sizes.drained // 100, 1)):
            hundred()
        return {"raw_xadd_per_s": one, "raw_xadd_pipelined_per_s": many, "raw_stream_read_per_s": _read(client)}


def _read(client: Any) -> float:
    """Take what is on the stream in hundreds: read, acknowledge, delete."""
    taken, begun = 0, time.monotonic()
    while found := client.xreadgroup(GROUP, "one", {STREAM: ">"}, count=100):
        names = [name for name, _ in (found[0][1] if isinstance(found, list) else found[STREAM.encode()][0])]
        with client.pipeline(transaction=False) as pipeline:
            pipeline.xack(STREAM, GROUP, *names)
            pipeline.xdel(STREAM, *names)
            pipeline.execute()
        taken += len(names)
    return taken / (time.monotonic() - begun)


def _fdatasync(sizes: Sizes) -> float:
    """Return the median time to flush a page to the disk that holds `.bench`."""
    path, waits = HOME / "fdatasync", []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for _ in range(max(int(sizes.raw_seconds * 100), 20)):
            os.pwrite(descriptor, b"x" * 8192, 0)
            begun = time.monotonic()
            os.fdatasync(descriptor)
            waits.append((time.monotonic() - begun) * 1000)
            threading.Event().wait(0.001)
    finally:
        os.close(descriptor)
        path.unlink()
    return percentile(waits, 0.5)


def _rate(seconds: float, each: int, action: Callable[[], object]) -> float:
    action()
    done, begun = 0, time.monotonic()
    while (elapsed := time.monotonic() - begun) < seconds:
        action()
        done += each
    return done / elapsed
