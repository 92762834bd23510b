"""Settings: the environment (and `.env`) becomes one frozen object, checked as a whole at start.

Everything that is wrong is said at once, each with the variable, its value and what is allowed. A variable that is set
but empty is an error, for it is nearly always a mistake in a deployment file. The README's table is made from
`VARIABLES`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dotenv import dotenv_values

from ledger import durations
from ledger.errors import InvalidSettings
from ledger.events import RetryPolicy

if TYPE_CHECKING:
    from datetime import timedelta

Parse = Callable[[str], Any]

SCOPES = ("read", "write", "admin")
"""What a key may do; each includes the ones before."""

QUEUE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the environment: how it is read and what it means."""

    name: str
    parse: Parse
    default: str | None
    meaning: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue a worker takes from; with weights, its share of the fetches while all have work."""

    name: str
    weight: int | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of the HTTP API; of its secret only the digest is kept."""

    name: str
    scope: str
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the processes go by. `database_url` and `redis_url` are None where the embedded servers are to be used."""

    database_url: str | None
    redis_url: str | None
    database_pool_size: int
    api_host: str
    api_port: int
    api_workers: int
    api_threads: int
    api_timeout: timedelta
    api_keys: tuple[ApiKey, ...]
    api_rate_limit: int | None
    worker_concurrency: int
    worker_queues: tuple[Queue, ...]
    worker_poll_interval: timedelta
    worker_shutdown_timeout: timedelta
    worker_heartbeat_interval: timedelta
    scheduler_stale_job_timeout: timedelta
    scheduler_poll_interval: timedelta
    scheduler_batch_size: int
    job_default_timeout: timedelta
    job_default_max_retries: int
    job_retry_backoff: str
    job_retry_base_delay: timedelta
    job_retry_max_delay: timedelta
    job_retry_jitter: str
    job_max_crashes: int
    job_max_payload: int
    job_idempotency_ttl: timedelta
    event_retention: timedelta | None
    probe_port: int | None
    log_level: str
    log_format: str

    @property
    def retry_policy(self) -> RetryPolicy:
        return RetryPolicy(
            backoff=self.job_retry_backoff,  # pyright: ignore[reportArgumentType] — checked when it was read
            base_seconds=self.job_retry_base_delay.total_seconds(),
            max_seconds=self.job_retry_max_delay.total_seconds(),
            jitter=self.job_retry_jitter,  # pyright: ignore[reportArgumentType]
        )


def from_env(env: Mapping[str, str], **given: Any) -> Settings:
    """Return the settings this environment asks for; raise InvalidSettings naming everything that is wrong.

    `given` overrides by field name, for flags and constructor arguments; None means not given.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    for variable in VARIABLES:
        values[variable.name.lower()] = _read(variable, env, problems)
    values |= {name: value for name, value in given.items() if value is not None}
    if not problems:
        problems += _contradictions(Settings(**values))
    if problems:
        raise InvalidSettings(problems)
    return Settings(**values)


def environment(directory: Path | None = None) -> dict[str, str]:
    """Return the process' environment over what `.env` in the working directory holds."""
    path = (directory or Path.cwd()) / ".env"
    from_file = {name: value or "" for name, value in dotenv_values(path).items()} if path.is_file() else {}
    return from_file | dict(os.environ)


def ignored(env: Mapping[str, str]) -> list[str]:
    """Return what is to be said of variables that job-queue documents and Ledger does not go by."""
    found = {name: advice for name in sorted(env) for pattern, advice in _IGNORED if re.fullmatch(pattern, name)}
    return [f"Ledger ignores {name}; {advice}" for name, advice in found.items() if name not in _NAMES]


def warn_of_ignored() -> None:
    """Say in one line of the log which variables have no effect; once a service."""
    import structlog  # noqa: PLC0415 — the settings are read by commands that log nothing

    if advice := ignored(environment()):
        structlog.get_logger().warning("settings ignored", advice=advice)


def load(**given: Any) -> Settings:
    """Return the settings of this process: flag over environment over `.env`."""
    return from_env(environment(), **given)


def _read(variable: Variable, env: Mapping[str, str], problems: list[str]) -> Any:
    text = env.get(variable.name, variable.default)
    if text is None:
        return () if variable.name == "API_KEYS" else None
    try:
        if not text.strip():
            raise ValueError("is set but empty; give it a value or unset it")
        return variable.parse(text.strip())
    except ValueError as error:
        shown = "" if variable.name.endswith(("_URL", "_KEYS")) else f"={text}"
        problems.append(f"{variable.name}{shown}: {error}")
        return None


def _contradictions(settings: Settings) -> list[str]:
    found: list[str] = []
    if settings.job_retry_base_delay > settings.job_retry_max_delay:
        found.append("JOB_RETRY_BASE_DELAY is longer than JOB_RETRY_MAX_DELAY; make it at most as long")
    if settings.worker_heartbeat_interval * 3 > settings.scheduler_stale_job_timeout:
        found.append(
            "WORKER_HEARTBEAT_INTERVAL is more than a third of SCHEDULER_STALE_JOB_TIMEOUT; "
            "a worker that is well would be taken for silent"
        )
    if settings.event_retention is not None and settings.event_retention < settings.job_idempotency_ttl:
        found.append(
            "EVENT_RETENTION is shorter than JOB_IDEMPOTENCY_TTL; a key would outlive its job: make it at least as long"
        )
    return found


def _duration(least: str, most: str | None = None) -> Parse:
    def parse(text: str) -> timedelta:
        span = durations.parse(text)
        if span < durations.parse(least) or (most and span > durations.parse(most)):
            raise ValueError(f"must be {f'{least} to {most}' if most else f'at least {least}'}")
        return span

    return parse


def _integer(least: int, most: int | None = None) -> Parse:
    allowed = f"a whole number from {least} to {most}" if most else f"a whole number, at least {least}"

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or int(text) < least or (most and int(text) > most):
            raise ValueError(f"must be {allowed}")
        return int(text)

    return parse


def _choice(*words: str) -> Parse:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return parse


def _url(*schemes: str) -> Parse:
    def parse(text: str) -> str:
        if not text.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return text

    return parse


def size(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,15})\s*(B|KiB|MiB)?", text)
    if not match or int(match[1]) < 1:
        raise ValueError("must be a size such as 65536, 512KiB or 1MiB")
    return int(match[1]) * {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}[match[2] or "B"]


def queues(text: str) -> tuple[Queue, ...]:
    """Read `critical,default,low`, or with weights `critical:6,default:3`; all have a weight or none has."""
    found: list[Queue] = []
    for item in text.split(","):
        name, colon, weight = item.strip().partition(":")
        if not QUEUE_NAME.fullmatch(name):
            raise ValueError(f"{item.strip()!r} is not a queue name (letters, digits, '.', '_', '-'; at most 50)")
        if colon and not re.fullmatch(r"[1-9][0-9]{0,5}", weight):
            raise ValueError(f"the weight of {name!r} must be a whole number, at least 1")
        found.append(Queue(name, int(weight) if colon else None))
    if len({queue.name for queue in found}) < len(found):
        raise ValueError("names a queue twice")
    if len({queue.weight is None for queue in found}) > 1:
        raise ValueError("gives a weight to some queues only; give one to all or to none")
    return tuple(found)


def api_keys(text: str) -> tuple[ApiKey, ...]:
    """Read `name:scope:secret,…`. What is refused is told without the secret."""
    found: list[ApiKey] = []
    for number, item in enumerate(text.split(","), start=1):
        name, _, rest = item.strip().partition(":")
        scope, _, secret = rest.partition(":")
        if not QUEUE_NAME.fullmatch(name):
            raise ValueError(f"key {number} must be name:scope:secret, its name of letters, digits, '.', '_', '-'")
        if scope not in SCOPES:
            raise ValueError(f"the scope of key {name!r} must be one of {', '.join(SCOPES)}")
        if len(secret) < 16:
            raise ValueError(f"the secret of key {name!r} must have at least 16 characters")
        found.append(ApiKey(name, scope, digest(secret.encode())))
    if len({(key.name, key.digest) for key in found}) < len(found):
        raise ValueError("names a key twice with the same secret")
    return tuple(found)


def digest(secret: bytes) -> bytes:
    """Return what is kept of the secret of a key."""
    return hashlib.sha256(secret).digest()


def _text(text: str) -> str:
    return text


VARIABLES: tuple[Variable, ...] = (
    Variable("DATABASE_URL", _url("postgresql", "postgres"), None, "Postgres 15 to 18; embedded where unset"),
    Variable("REDIS_URL", _url("redis", "rediss", "unix"), None, "Redis 7 or Valkey 8; embedded where unset"),
    Variable("DATABASE_POOL_SIZE", _integer(1, 1000), "10", "connections per process"),
    Variable("API_HOST", _text, "127.0.0.1", "listen address"),
    Variable("API_PORT", _integer(0, 65535), "8080", "listen port"),
    Variable("API_WORKERS", _integer(1, 256), "2", "API processes"),
    Variable("API_THREADS", _integer(1, 256), "4", "threads in each of them"),
    Variable("API_TIMEOUT", _duration("100ms"), "15s", "limit of one request, then 503"),
    Variable("API_KEYS", api_keys, None, "`name:scope:secret,…`; scope read, write or admin"),
    Variable("API_RATE_LIMIT", _integer(1, 1_000_000), None, "requests a second for each key or address, per process"),
    Variable("WORKER_CONCURRENCY", _integer(1, 10_000), "10", "jobs at once in a worker process"),
    Variable("WORKER_QUEUES", queues, "critical,default,low", "in this order, or weighted: `critical:6,default:3`"),
    Variable("WORKER_POLL_INTERVAL", _duration("10ms"), "1s", "longest wait for work when nothing wakes the worker"),
    Variable("WORKER_SHUTDOWN_TIMEOUT", _duration("0s"), "30s", "how long SIGTERM lets running jobs finish"),
    Variable("WORKER_HEARTBEAT_INTERVAL", _duration("100ms"), "5s", "one heartbeat row a process"),
    Variable("SCHEDULER_STALE_JOB_TIMEOUT", _duration("300ms"), "30s", "silence after which leases are released"),
    Variable("SCHEDULER_POLL_INTERVAL", _duration("10ms"), "1s", "how often to look for due jobs"),
    Variable("SCHEDULER_BATCH_SIZE", _integer(1, 100_000), "1000", "jobs a statement; a full one is followed at once"),
    Variable("JOB_DEFAULT_TIMEOUT", _duration("1ms", "168h"), "5m", "limit of one run"),
    Variable("JOB_DEFAULT_MAX_RETRIES", _integer(0, 1000), "3", "retries after the first run"),
    Variable("JOB_RETRY_BACKOFF", _choice("constant", "linear", "exponential"), "exponential", "how delays grow"),
    Variable("JOB_RETRY_BASE_DELAY", _duration("1ms", "168h"), "10s", "the first delay, before jitter"),
    Variable("JOB_RETRY_MAX_DELAY", _duration("1ms", "168h"), "1h", "no delay is longer"),
    Variable("JOB_RETRY_JITTER", _choice("none", "full", "equal", "decorrelated"), "equal", "how delays are spread"),
    Variable("JOB_MAX_CRASHES", _integer(1, 1000), "3", "the n-th worker a job kills dead-letters it as poison"),
    Variable("JOB_MAX_PAYLOAD", size, "1MiB", "largest payload, in bytes as sent"),
    Variable("JOB_IDEMPOTENCY_TTL", _duration("1s"), "24h", "how long an idempotency key is kept"),
    Variable("EVENT_RETENTION", _duration("24h"), None, "age at which ended jobs may leave the log; kept if unset"),
    Variable("PROBE_PORT", _integer(0, 65535), None, "probes and metrics of worker, scheduler, projector"),
    Variable("LOG_LEVEL", _choice("debug", "info", "warning", "error"), "info", "least severe lines shown"),
    Variable("LOG_FORMAT", _choice("json", "console"), "json", "one JSON object a line, or coloured text"),
)

_NAMES = frozenset(variable.name for variable in VARIABLES)

_IGNORED = (
    (r"REDIS_(?!SERVICE_|PORT_\d).+", "use REDIS_URL for where Redis is; nothing else is to be set"),
    (r"DATABASE_MAX_.+", "use DATABASE_POOL_SIZE"),
    (r"DATABASE_CONN_MAX_.+", "idle connections are closed by themselves"),
    (r"API_(READ|WRITE|IDLE)_TIMEOUT", "use API_TIMEOUT"),
)
"""Names, as patterns, that job-queue documents and that have no effect here, and what there is instead. Kubernetes sets
REDIS_SERVICE_… and REDIS_PORT_6379_… by itself."""

assert [variable.name.lower() for variable in VARIABLES] == [field.name for field in fields(Settings)]
