"""The servers the tests talk to: by URL where one is given, else containers where Docker answers, else embedded ones.

One pair serves the whole run, also with xdist: the controller starts it, hands the URLs to its workers, and stops it.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
import redis

from ledger.runtime.embedded import EmbeddedPostgres, EmbeddedRedis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from testcontainers.core.container import DockerContainer

SETTINGS = frozenset(
    {
        "DATABASE_URL",
        "REDIS_URL",
        "DATABASE_POOL_SIZE",
        "API_HOST",
        "API_PORT",
        "API_WORKERS",
        "API_THREADS",
        "API_TIMEOUT",
        "API_KEYS",
        "API_RATE_LIMIT",
        "WORKER_CONCURRENCY",
        "WORKER_QUEUES",
        "WORKER_POLL_INTERVAL",
        "WORKER_SHUTDOWN_TIMEOUT",
        "WORKER_HEARTBEAT_INTERVAL",
        "SCHEDULER_STALE_JOB_TIMEOUT",
        "SCHEDULER_POLL_INTERVAL",
        "SCHEDULER_BATCH_SIZE",
        "JOB_DEFAULT_TIMEOUT",
        "JOB_DEFAULT_MAX_RETRIES",
        "JOB_RETRY_BACKOFF",
        "JOB_RETRY_BASE_DELAY",
        "JOB_RETRY_MAX_DELAY",
        "JOB_RETRY_JITTER",
        "JOB_MAX_CRASHES",
        "JOB_MAX_PAYLOAD",
        "JOB_IDEMPOTENCY_TTL",
        "EVENT_RETENTION",
        "PROBE_PORT",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "API_READ_TIMEOUT",
        "API_WRITE_TIMEOUT",
        "API_IDLE_TIMEOUT",
    }
)
FOREIGN = ("PG", "REDIS_", "DATABASE_MAX_", "DATABASE_CONN_MAX_")
"""Prefixes of what steers libpq, and of names that only earn a warning."""


@dataclass
class Servers:
    """A Postgres and a Redis with nothing of value in them, and how to be rid of them."""

    database_url: str
    redis_url: str
    origin: str
    run: str = field(default_factory=lambda: f"ledger_test_{os.urandom(4).hex()}")
    """The beginning of all names this run gives to databases, the same in all its workers."""
    _cleanup: ExitStack = field(default_factory=ExitStack)

    def versions(self) -> str:
        with connect(self.database_url) as connection:
            postgres = connection.execute("show server_version").fetchone()[0]
        with redis.Redis.from_url(self.redis_url) as client:
            info = client.info("server")
        kind = "valkey" if "valkey_version" in info else "redis"
        return f"servers: postgres {postgres.split()[0]}, {kind} {info[f'{kind}_version']} ({self.origin})"

    def close(self) -> None:
        self._cleanup.close()


def open_servers(environment: Mapping[str, str] = os.environ) -> Servers:
    """Find or start a Postgres and a Redis."""
    with ExitStack() as stack:
        database_url = environment.get("LEDGER_TEST_DATABASE_URL") or environment.get("DATABASE_URL")
        redis_url = environment.get("LEDGER_TEST_REDIS_URL") or environment.get("REDIS_URL")
        if database_url and redis_url:
            return Servers(database_url, redis_url, "given by URL")
        origin = "containers" if _docker_answers() else "embedded"
        try:
            database_url, redis_url = _START[origin](stack, database_url, redis_url)
        except Exception as error:
            if origin == "embedded":
                raise
            warnings.warn(f"containers cannot be started ({error}); taking embedded servers", stacklevel=2)
            origin = "embedded"
            database_url, redis_url = _START[origin](stack, database_url, redis_url)
        return Servers(database_url, redis_url, origin, _cleanup=stack.pop_all())


@contextmanager
def server_directory() -> Iterator[Path]:
    """A directory that every user may enter, as pytest's own are not: as root, Postgres runs as somebody else."""
    directory = Path(tempfile.mkdtemp(prefix="jobledger-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shelter = directory / "postgres"
        if shelter.is_symlink():
            shutil.rmtree(shelter.resolve().parent, ignore_errors=True)
        shutil.rmtree(directory, ignore_errors=True)


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True)


def with_database(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def _docker_answers() -> bool:
    """Ask the daemon itself: its client library takes long to load, and leaves sockets open where nobody answers."""
    host = urlsplit(os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
    try:
        with socket.socket(socket.AF_UNIX if host.scheme == "unix" else socket.AF_INET) as daemon:
            daemon.settimeout(2)
            daemon.connect(host.path if host.scheme == "unix" else (host.hostname, host.port or 2375))
            daemon.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in daemon.recv(64)
    except OSError:
        return False


def _containers(stack: ExitStack, database_url: str | None, redis_url: str | None) -> tuple[str, str]:
    with _silence():  # and loaded only where it is used: it takes a second
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415
        from testcontainers.core.wait_strategies import LogMessageWaitStrategy  # noqa: PLC0415

        if not database_url:
            ready = LogMessageWaitStrategy("PostgreSQL init process complete").with_startup_timeout(120)
            postgres = DockerContainer("postgres:18").with_exposed_ports(5432).waiting_for(ready)
            postgres.with_env("POSTGRES_USER", "ledger").with_env("POSTGRES_DB", "ledger")
            postgres.with_env("POSTGRES_HOST_AUTH_METHOD", "trust")
            postgres.with_command("postgres -c fsync=off -c full_page_writes=off -c jit=off")
            address = _address(stack.enter_context(postgres), 5432)
            database_url = f"postgresql://ledger@{address}/ledger"
            _patiently(lambda: connect(database_url).close(), psycopg.OperationalError)
        if not redis_url:
            ready = LogMessageWaitStrategy("Ready to accept connections").with_startup_timeout(120)
            valkey = DockerContainer("valkey/valkey:8").with_exposed_ports(6379).waiting_for(ready)
            valkey.with_command("valkey-server --save '' --databases 64 --maxmemory-policy noeviction")
            redis_url = f"redis://{_address(stack.enter_context(valkey), 6379)}/0"
    return database_url, redis_url


def _address(container: DockerContainer, port: int) -> str:
    return f"{container.get_container_host_ip()}:{container.get_exposed_port(port)}"


def _patiently(action: Callable[[], None], error: type[Exception]) -> None:
    """The image's start-up script runs a first Postgres and replaces it: a few refusals are part of that."""
    for _ in range(300):
        try:
            return action()
        except error:
            threading.Event().wait(0.1)
    return action()


def _embedded(stack: ExitStack, database_url: str | None, redis_url: str | None) -> tuple[str, str]:
    directory = stack.enter_context(server_directory())
    if not database_url:
        database_url = stack.enter_context(EmbeddedPostgres(directory, durable=False)).url
    if not redis_url:
        redis_url = stack.enter_context(EmbeddedRedis(directory, durable=False)).url
    return database_url, redis_url


@contextmanager
def _silence() -> Iterator[None]:
    """Their deprecations are not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


_START = {"containers": _containers, "embedded": _embedded}
