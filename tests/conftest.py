"""What every test may ask for: servers, an empty database, an empty Redis, an environment without our settings."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import redis
from hypothesis import HealthCheck, settings

from ledger.errors import Unavailable
from ledger.runtime.embedded import EmbeddedPostgres, EmbeddedRedis
from tests.support.proving import Proving
from tests.support.servers import FOREIGN, SETTINGS, Servers, connect, open_servers, server_directory, with_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
"""A machine that stands still for a moment, in the middle of an example, proves nothing."""

SERVERS = pytest.StashKey[Servers]()
REFUSAL = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--parity-status", action="store_true", help="write ops/PARITY_STATUS.md after a complete run")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Proving(config))


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workerinput"):
        _receive(config)
    elif not config.option.collectonly:
        try:
            config.stash[SERVERS] = open_servers()
        except Unavailable as error:
            config.stash[REFUSAL] = str(error)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Hand the servers to an xdist worker."""
    stash = node.config.stash
    servers = stash.get(SERVERS, None)
    node.workerinput["ledger_servers"] = servers and [
        servers.database_url,
        servers.redis_url,
        servers.origin,
        servers.run,
    ]
    node.workerinput["ledger_refusal"] = stash.get(REFUSAL, "")


def pytest_report_header(config: pytest.Config) -> str:
    if (servers := config.stash.get(SERVERS, None)) is None:
        return f"servers: none; {config.stash.get(REFUSAL, 'not started')}"
    return servers.versions()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Reached after Ctrl-C too; after kill -9 the embedded servers end by themselves."""
    servers = config.stash.get(SERVERS, None)
    if servers is not None and not hasattr(config, "workerinput"):
        _drop_databases(servers)
        servers.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the heavy ones last: what is quickly broken is quickly seen."""
    items.sort(key=lambda item: item.get_closest_marker("heavy") is not None)


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config) -> Servers:
    servers = pytestconfig.stash.get(SERVERS, None)
    return servers if servers is not None else _missing(pytestconfig.stash.get(REFUSAL, "the servers were not started"))


@pytest.fixture(scope="session")
def maintenance(servers: Servers) -> Iterator[psycopg.Connection]:
    """A connection for making and dropping databases."""
    with connect(servers.database_url) as connection:
        yield connection


@pytest.fixture(scope="session")
def template(servers: Servers, maintenance: psycopg.Connection) -> str:
    """The name of a migrated database, made by the first worker that asks, to make others from."""
    name = f"{servers.run}_template"
    maintenance.execute("select pg_advisory_lock(hashtext(%s))", [name])
    try:
        if maintenance.execute("select from pg_database where datname = %s", [name]).fetchone() is None:
            _make_template(servers.database_url, maintenance, name)
    finally:
        maintenance.execute("select pg_advisory_unlock(hashtext(%s))", [name])
    return name


@pytest.fixture(scope="session")
def database_names(servers: Servers) -> Iterator[str]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    return (f"{servers.run}_{worker}_{number}" for number in count(1))


@pytest.fixture
def empty_database(servers: Servers, maintenance: psycopg.Connection, database_names: Iterator[str]) -> Iterator[str]:
    """The URL of a database nobody has migrated."""
    yield from _database(servers, maintenance, next(database_names), "template0")


@pytest.fixture
def database(
    servers: Servers, maintenance: psycopg.Connection, database_names: Iterator[str], template: str
) -> Iterator[str]:
    """The URL of a migrated database with nothing in it."""
    yield from _database(servers, maintenance, next(database_names), template)


@pytest.fixture(scope="module")
def module_database(
    servers: Servers, maintenance: psycopg.Connection, database_names: Iterator[str], template: str
) -> Iterator[str]:
    """The URL of a migrated database that a module's tests share, each with job ids of its own."""
    yield from _database(servers, maintenance, next(database_names), template)


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """The URL of an empty logical database that no other worker uses. Channels, unlike keys, are common to all."""
    return _emptied(servers)


@pytest.fixture(scope="module")
def module_redis_url(servers: Servers) -> str:
    """The same database, for a module whose tests share what is in it, and do not ask for `redis_url`."""
    return _emptied(servers)


@pytest.fixture
def servers_directory() -> Iterator[Path]:
    """Where a test may start servers of its own."""
    with server_directory() as directory:
        yield directory


@pytest.fixture
def private_postgres(servers_directory: Path) -> Iterator[EmbeddedPostgres]:
    """A started server for one test, which may stop, start and kill it."""
    yield from _private(EmbeddedPostgres(servers_directory, durable=False))


@pytest.fixture
def private_redis(servers_directory: Path) -> Iterator[EmbeddedRedis]:
    """A started server for one test, which may stop, start and kill it; it keeps what was acknowledged a second ago."""
    yield from _private(EmbeddedRedis(servers_directory))


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away every setting, so that no test depends on the machine it runs on."""
    for name in [name for name in os.environ if name in SETTINGS or name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)


def _receive(config: pytest.Config) -> None:
    if (servers := config.workerinput["ledger_servers"]) is not None:
        config.stash[SERVERS] = Servers(*servers)
    config.stash[REFUSAL] = config.workerinput["ledger_refusal"]


def _missing(reason: str) -> Servers:
    pytest.fail(reason)  # not a skip: without servers nothing would have been proved


def _make_template(url: str, maintenance: psycopg.Connection, name: str) -> None:
    from ledger_migrations.migrate import migrate  # noqa: PLC0415 - pure tests need not wait for Alembic

    draft = f"{name}_draft"
    maintenance.execute(f'drop database if exists "{draft}" with (force)')
    maintenance.execute(f'create database "{draft}" template template0')
    migrate(with_database(url, draft))
    maintenance.execute(f'alter database "{draft}" rename to "{name}"')


def _database(servers: Servers, maintenance: psycopg.Connection, name: str, template: str) -> Iterator[str]:
    maintenance.execute(f'create database "{name}" template "{template}"')
    try:
        yield with_database(servers.database_url, name)
    finally:
        maintenance.execute(f'drop database "{name}" with (force)')


def _emptied(servers: Servers) -> str:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    url = urlsplit(servers.redis_url)._replace(path=f"/{int(worker) + 1}").geturl()
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


def _drop_databases(servers: Servers) -> None:
    """Leave nothing in a server that outlives the run."""
    with connect(servers.database_url) as connection:
        for (name,) in connection.execute(
            "select datname from pg_database where starts_with(datname, %s)", [servers.run]
        ):
            connection.execute(f'drop database if exists "{name}" with (force)')


def _private(server):
    try:
        server.start()
    except Unavailable as error:
        _missing(str(error))
    try:
        yield server
    finally:
        server.stop()
