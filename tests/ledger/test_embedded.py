"""The servers for development and tests: started, stopped, killed, shared."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from ledger.errors import Unavailable
from ledger.runtime.embedded import EmbeddedPostgres, EmbeddedRedis, running

ROOT = Path(__file__).parents[2]

STARTER = """
import sys
from pathlib import Path
from ledger.runtime.embedded import EmbeddedPostgres, EmbeddedRedis
directory = Path(sys.argv[1])
with EmbeddedPostgres(directory, durable=False) as postgres, EmbeddedRedis(directory) as redis:
    print(postgres.url, redis.url, postgres.pid, redis.pid, flush=True)
    sys.stdin.read()
"""


FORGETFUL = """
import sys
from pathlib import Path
from ledger.runtime.embedded import EmbeddedPostgres
postgres = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
print(postgres.start(), postgres.pid, flush=True)
"""


def test_both_answer_and_say_what_they_are(private_postgres, private_redis):
    with psycopg.connect(private_postgres.url) as connection:
        facts = (
            "select current_user, current_database(), current_setting('TimeZone'), current_setting('server_version')"
        )
        user, database, zone, version = connection.execute(facts).fetchone()
    assert (user, database, zone, version) == ("ledger", "ledger", "UTC", private_postgres.server.version)
    with redis.Redis.from_url(private_redis.url) as client:
        assert client.info("server")["process_id"] == private_redis.pid
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.info("server")["valkey_version"] == private_redis.server.version


def test_a_restart_keeps_address_and_data(private_postgres, private_redis):
    before = _write(private_postgres, private_redis)
    private_postgres.stop()
    private_redis.stop()
    assert (private_postgres.start(), private_redis.start()) == before
    assert _read(private_postgres, private_redis) == ([(1,)], b"1")


def test_a_kill_loses_nothing_that_was_committed(private_postgres, private_redis):
    before = _write(private_postgres, private_redis)
    with redis.Redis.from_url(private_redis.url) as client:
        client.waitaof(1, 0, 5000)
    private_postgres.kill()
    private_redis.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(before[0])
    assert (private_postgres.start(), private_redis.start()) == before
    assert _read(private_postgres, private_redis) == ([(1,)], b"1")


def test_a_kill_takes_every_backend(private_postgres):
    with psycopg.connect(private_postgres.url, autocommit=True) as connection:
        family = psutil.Process(private_postgres.pid).children()
        assert connection.info.backend_pid in {process.pid for process in family}
        private_postgres.kill()
        assert not any(map(_runs, family))
        private_postgres.start()


def test_a_stop_leaves_no_process_and_no_note(private_postgres, private_redis):
    parents = [psutil.Process(private_postgres.pid), psutil.Process(private_redis.pid)]
    family = [*parents, *parents[0].children(recursive=True)]
    private_postgres.stop()
    private_redis.stop()
    assert not any(map(_runs, family))
    assert not list(private_postgres.directory.glob("*.json"))
    assert running(private_postgres.directory) is None


def test_stopping_twice_and_before_starting_is_harmless(servers_directory):
    server = EmbeddedRedis(servers_directory, durable=False)
    server.stop()
    server.start()
    server.stop()
    server.stop()
    with pytest.raises(Unavailable, match="not started by this object"):
        server.kill()


def test_a_server_outlives_the_thread_that_started_it(servers_directory):
    with EmbeddedRedis(servers_directory, durable=False) as server:
        server.stop()
        starter = threading.Thread(target=server.start)
        starter.start()
        starter.join()
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()


def test_the_terminal_does_not_reach_the_servers(private_postgres, private_redis):
    assert os.getsid(private_postgres.pid) == private_postgres.pid
    assert os.getsid(private_redis.pid) == private_redis.pid


def test_a_second_process_is_given_the_running_servers(private_postgres, private_redis):
    directory = private_postgres.directory
    with _starter(directory) as second:
        urls = second.stdout.readline().split()[:2]
        second.communicate(timeout=30)
    assert second.returncode == 0
    assert urls == [private_postgres.url, private_redis.url]
    assert running(directory) == (private_postgres.url, private_redis.url)
    assert _write(private_postgres, private_redis)


def test_a_borrower_does_not_stop_or_kill(private_redis):
    borrower = EmbeddedRedis(private_redis.directory)
    assert borrower.start() == private_redis.url
    assert not borrower.owned
    with pytest.raises(Unavailable, match="not started by this object"):
        borrower.kill()
    borrower.stop()
    with redis.Redis.from_url(private_redis.url) as client:
        assert client.ping()


def test_a_server_that_is_only_slow_is_left_alone(private_redis, monkeypatch):
    monkeypatch.setattr("ledger.runtime.embedded.START_LIMIT", 0.5)
    os.kill(private_redis.pid, signal.SIGSTOP)
    with pytest.raises(Unavailable, match="does not answer"):
        EmbeddedRedis(private_redis.directory).start()
    os.kill(private_redis.pid, signal.SIGCONT)
    assert EmbeddedRedis(private_redis.directory).start() == private_redis.url


def test_a_killed_starter_takes_its_servers_along_and_the_next_one_starts_at_once(servers_directory):
    with _starter(servers_directory) as first:
        *urls, postgres_pid, redis_pid = first.stdout.readline().split()
        servers = [psutil.Process(int(postgres_pid)), psutil.Process(int(redis_pid))]
        first.kill()
        first.communicate(timeout=30)
    assert first.returncode == -signal.SIGKILL
    with EmbeddedPostgres(servers_directory, durable=False) as postgres, EmbeddedRedis(servers_directory) as valkey:
        assert [postgres.url, valkey.url] == urls
        assert postgres.owned
        assert valkey.owned
        assert not any(map(_runs, servers))


def test_a_starter_that_forgets_to_stop_leaves_nothing(servers_directory):
    with _starter(servers_directory, FORGETFUL) as first:
        pid = int(first.stdout.readline().split()[1])
        first.communicate(timeout=30)
    assert first.returncode == 0
    assert not _runs_within(pid, seconds=10)


def test_a_stale_note_misleads_nobody(servers_directory):
    with EmbeddedRedis(servers_directory, durable=False) as server:
        note = (servers_directory / "redis.json").read_bytes()
        first = server.pid
    (servers_directory / "redis.json").write_bytes(note.replace(str(first).encode(), str(os.getpid()).encode()))
    assert EmbeddedRedis(servers_directory).found() is None
    with EmbeddedRedis(servers_directory, durable=False) as server:
        assert server.owned


def test_a_refusal_shows_the_servers_own_words_and_the_way_out(servers_directory):
    with pytest.raises(Unavailable, match=r'(?s)invalid value for parameter "shared_buffers".*set DATABASE_URL'):
        EmbeddedPostgres(servers_directory, durable=False, settings={"shared_buffers": "much"}).start()
    with pytest.raises(Unavailable, match=r"(?s)maxmemory.*set REDIS_URL"):
        EmbeddedRedis(servers_directory, settings={"maxmemory": "much"}).start()


def test_settings_reach_the_servers(servers_directory):
    server = EmbeddedPostgres(servers_directory, durable=False, settings={"work_mem": "5MB"})
    with server, psycopg.connect(server.start()) as connection:
        values = [connection.execute(f"show {name}").fetchone()[0] for name in ("work_mem", "synchronous_commit")]
    assert values == ["5MB", "on"]


def _write(postgres: EmbeddedPostgres, valkey: EmbeddedRedis) -> tuple[str, str]:
    with psycopg.connect(postgres.url) as connection:
        connection.execute("create table kept as select 1 as number")
    with redis.Redis.from_url(valkey.url) as client:
        client.set("kept", 1)
    return postgres.url, valkey.url


def _read(postgres: EmbeddedPostgres, valkey: EmbeddedRedis) -> tuple[list[tuple[int]], bytes]:
    with psycopg.connect(postgres.url) as connection, redis.Redis.from_url(valkey.url) as client:
        return connection.execute("select number from kept").fetchall(), client.get("kept")


def _starter(directory: Path, code: str = STARTER) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, str(directory)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _runs(process: psutil.Process) -> bool:
    """A process that init has not collected yet has ended all the same."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _runs_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while psutil.pid_exists(pid) and _runs(psutil.Process(pid)):
        if time.monotonic() > deadline:
            return True
        threading.Event().wait(0.02)
    return False
