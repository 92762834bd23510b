"""The servers everybody is measured on: those of DATABASE_URL and REDIS_URL, or embedded durable ones.

In a given Postgres the benchmark makes and drops one database of its own; a given Redis database must be empty, because
it is emptied before each part.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis
from psycopg import sql

from ledger.cli_output import Failure
from ledger.runtime.embedded import EmbeddedPostgres, EmbeddedRedis
from ops.bench import usage
from ops.bench.venvs import HOME

if TYPE_CHECKING:
    from collections.abc import Generator

_POSTGRES_SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method",
                      "shared_buffers", "max_wal_size")  # fmt: skip
_REDIS_SETTINGS = ("appendonly", "appendfsync")
_TUNED = {"max_wal_size": "8GB", "checkpoint_timeout": "15min", "shared_buffers": "512MB", "max_connections": "200"}


@dataclass(frozen=True, slots=True)
class Servers:
    maintenance_url: str
    """Of the database from which others are made."""
    redis_url: str
    database: str = "ledger_bench"
    """The benchmark's own, made and dropped."""

    @property
    def database_url(self) -> str:
        return urlunsplit(urlsplit(self.maintenance_url)._replace(path=f"/{self.database}"))

    def empty(self) -> None:
        """Begin afresh: a new database, nothing in Redis."""
        self.drop()
        with psycopg.connect(self.maintenance_url, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(self.database)))
            connection.execute("checkpoint")
        self.forget()

    def drop(self) -> None:
        with psycopg.connect(self.maintenance_url, autocommit=True) as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(self.database)))

    def forget(self) -> None:
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushdb()

    def settings(self) -> dict[str, str]:
        """Say what the figures depend on: versions, and whether what is acknowledged is on disk."""
        with psycopg.connect(self.maintenance_url) as connection:
            found = {f"postgres {name}": str(connection.execute(f"show {name}").fetchone()[0])  # type: ignore[index]
                     for name in _POSTGRES_SETTINGS}  # fmt: skip
        with redis.Redis.from_url(self.redis_url) as client:
            info = cast("dict[str, Any]", client.info("server"))
            found["redis version"] = " ".join(
                f"{name} {info[key]}"
                for name, key in (("Valkey", "valkey_version"), ("Redis", "redis_version"))
                if key in info
            )
            for name in _REDIS_SETTINGS:
                found[f"redis {name}"] = str(cast("dict[str, str]", client.config_get(name)).get(name, "unknown"))
        return found


def durable(settings: dict[str, str]) -> bool:
    """Whether what Postgres acknowledges is flushed and Redis writes its log each second."""
    on = all(settings[f"postgres {name}"] == "on" for name in ("fsync", "synchronous_commit", "full_page_writes"))
    return on and settings["redis appendonly"] == "yes" and settings["redis appendfsync"] in {"everysec", "always"}


@contextmanager
def opened() -> Generator[Servers]:
    """Give the servers, and at the end stop those that were started here; their data go with them."""
    place = HOME / "servers"
    with ExitStack() as stack:
        urls: list[str] = []
        for variable, kind, settings in (
            ("DATABASE_URL", EmbeddedPostgres, _TUNED),
            ("REDIS_URL", EmbeddedRedis, {}),
        ):
            if given := os.environ.get(variable):
                urls.append(given)
                continue
            server = kind(place, settings=settings)
            if server.found() is not None:
                raise Failure(f"another benchmark is running in {place}; two at once would spoil both")
            _remove(server)  # what a run that was killed has left
            stack.callback(_remove, server)
            urls.append(server.start())
        servers = Servers(*urls)
        if os.environ.get("REDIS_URL"):
            with redis.Redis.from_url(servers.redis_url) as client:
                if cast("int", client.dbsize()):
                    raise Failure("REDIS_URL names a database that is not empty; give the benchmark one of its own")
        stack.callback(_clean, servers)
        yield servers


def cpu(servers: Servers) -> dict[str, float]:
    """Return the CPU seconds of each server so far; one on another machine is left out."""
    found: dict[str, float] = {}
    if postmaster := postgres_pid(servers):
        found["postgres"] = usage.cpu_seconds(postmaster)
    with redis.Redis.from_url(servers.redis_url) as client:
        info = cast("dict[str, Any]", client.info("cpu"))
    found["redis"] = sum(float(info[f"used_cpu_{kind}{who}"]) for kind in ("sys", "user") for who in ("", "_children"))
    return found


@cache
def postgres_pid(servers: Servers) -> int | None:
    """Return the postmaster's pid; asked once, for to start and end a backend is itself work of Postgres."""
    with psycopg.connect(servers.maintenance_url) as connection:
        backend = connection.info.backend_pid
        if usage.name(backend) != "postgres":
            return None
        return usage.parent(backend)


def clock_offset(connection: psycopg.Connection[Any]) -> int:
    """Return what to subtract from Postgres' clock, in nanoseconds since 1970, to get our monotonic one."""
    best: tuple[int, int] | None = None
    for _ in range(5):
        before = time.monotonic_ns()
        row = connection.execute("select (extract(epoch from clock_timestamp()) * 1000000)::bigint").fetchone()
        after = time.monotonic_ns()
        assert row is not None
        if best is None or after - before < best[0]:
            best = (after - before, row[0] * 1000 - (before + after) // 2)
    assert best is not None
    return best[1]


def _remove(server: EmbeddedPostgres | EmbeddedRedis) -> None:
    server.stop()
    data = server.directory / server.name
    with suppress(OSError):
        shutil.rmtree(data.resolve(), ignore_errors=True)
        if data.is_symlink():
            data.resolve().parent.rmdir()
            data.unlink()


def _clean(servers: Servers) -> None:
    with suppress(psycopg.Error, redis.RedisError):
        servers.drop()
        servers.forget()
