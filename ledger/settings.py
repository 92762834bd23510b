"""Settings: the environment (and `.env`) becomes one frozen object, checked as a whole at start.

Everything that is wrong is said at once, each with the variable, its value and what is allowed. A variable that is set
but empty is an error, for it is nearly always a mistake in a deployment file. The README's table is made from
`VARIABLES`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dotenv import dotenv_values

from ledger import setting_values as values
from ledger.durations import spelled
from ledger.errors import InvalidSettings
from ledger.events import RetryPolicy
from ledger.setting_values import QUEUE_NAME, SCOPES, ApiKey, Parse, Queue, api_keys, digest, queues, size

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

__all__ = [
    "QUEUE_NAME", "SCOPES", "VARIABLES", "ApiKey", "Queue", "Settings", "Variable", "api_keys", "digest",
    "environment", "from_env", "ignored", "load", "queues", "size", "warn_of_ignored",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the environment: how it is read and what it means."""

    name: str
    parse: Parse
    default: str | None
    meaning: str


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
    found: dict[str, Any] = {}
    for variable in VARIABLES:
        found[variable.name.lower()] = _read(variable, env, problems)
    found |= {name: value for name, value in given.items() if value is not None}
    if not problems:
        problems += _contradictions(Settings(**found))
    if problems:
        raise InvalidSettings(problems)
    return Settings(**found)


def environment(directory: Path | None = None) -> dict[str, str]:
    """Return the process' environment over what `.env` in the working directory holds."""
    path = (directory or Path.cwd()) / ".env"
    try:
        from_file = {name: value or "" for name, value in dotenv_values(path).items()} if path.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings([f"{path} cannot be read: {error}; it must be a text file in UTF-8"]) from error
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
    """Return what is wrong with values that are each allowed, in the words of the rest: variable, value, what is."""
    base, most = settings.job_retry_base_delay, settings.job_retry_max_delay
    beat, silence = settings.worker_heartbeat_interval, settings.scheduler_stale_job_timeout
    kept, key_kept = settings.event_retention, settings.job_idempotency_ttl
    found: list[str] = []
    if base > most:
        found.append(f"JOB_RETRY_BASE_DELAY={spelled(base)}: must be at most JOB_RETRY_MAX_DELAY, {spelled(most)}")
    if beat * 3 > silence:
        found.append(
            f"WORKER_HEARTBEAT_INTERVAL={spelled(beat)}: must be at most a third of SCHEDULER_STALE_JOB_TIMEOUT, "
            f"{spelled(silence)}; a worker that is well would be taken for silent"
        )
    if kept is not None and kept < key_kept:
        found.append(
            f"EVENT_RETENTION={spelled(kept)}: must be at least JOB_IDEMPOTENCY_TTL, {spelled(key_kept)}; "
            "a key would outlive its job"
        )
    return found


VARIABLES: tuple[Variable, ...] = (
    Variable("DATABASE_URL", values.database_url, None, "Postgres 15 to 18; embedded where unset"),
    Variable("REDIS_URL", values.redis_url, None, "Redis 7 or Valkey 8; embedded where unset"),
    Variable("DATABASE_POOL_SIZE", values.integer(1, 1000), "10", "connections per process"),
    Variable("API_HOST", values.text, "127.0.0.1", "listen address"),
    Variable("API_PORT", values.integer(0, 65535), "8080", "listen port"),
    Variable("API_WORKERS", values.integer(1, 256), "2", "API processes"),
    Variable("API_THREADS", values.integer(1, 256), "4", "threads at work in each of them"),
    Variable("API_TIMEOUT", values.duration("100ms", "168h"), "15s", "limit of one request, then 503"),
    Variable("API_KEYS", api_keys, None, "`name:scope:secret,…`; scope read, write or admin"),
    Variable(
        "API_RATE_LIMIT", values.integer(1, 1_000_000), None, "requests a second for each key or address, per process"
    ),
    Variable("WORKER_CONCURRENCY", values.integer(1, 10_000), "10", "jobs at once in a worker process"),
    Variable("WORKER_QUEUES", queues, "critical,default,low", "in this order, or weighted: `critical:6,default:3`"),
    Variable(
        "WORKER_POLL_INTERVAL",
        values.duration("10ms", "168h"),
        "1s",
        "longest wait for work when nothing wakes the worker",
    ),
    Variable(
        "WORKER_SHUTDOWN_TIMEOUT", values.duration("0s", "168h"), "30s", "how long SIGTERM lets running jobs finish"
    ),
    Variable("WORKER_HEARTBEAT_INTERVAL", values.duration("100ms", "168h"), "5s", "one heartbeat row a process"),
    Variable(
        "SCHEDULER_STALE_JOB_TIMEOUT",
        values.duration("300ms", "168h"),
        "30s",
        "silence after which leases are released",
    ),
    Variable("SCHEDULER_POLL_INTERVAL", values.duration("10ms", "168h"), "1s", "how often to look for due jobs"),
    Variable(
        "SCHEDULER_BATCH_SIZE", values.integer(1, 100_000), "1000", "jobs a statement; a full one is followed at once"
    ),
    Variable("JOB_DEFAULT_TIMEOUT", values.duration("1ms", "168h"), "5m", "limit of one run"),
    Variable("JOB_DEFAULT_MAX_RETRIES", values.integer(0, 1000), "3", "retries after the first run"),
    Variable("JOB_RETRY_BACKOFF", values.choice("constant", "linear", "exponential"), "exponential", "how delays grow"),
    Variable("JOB_RETRY_BASE_DELAY", values.duration("1ms", "168h"), "10s", "the first delay, before jitter"),
    Variable("JOB_RETRY_MAX_DELAY", values.duration("1ms", "168h"), "1h", "no delay is longer"),
    Variable(
        "JOB_RETRY_JITTER", values.choice("none", "full", "equal", "decorrelated"), "equal", "how delays are spread"
    ),
    Variable("JOB_MAX_CRASHES", values.integer(1, 1000), "3", "the n-th worker a job kills dead-letters it as poison"),
    Variable("JOB_MAX_PAYLOAD", size, "1MiB", "largest payload, in bytes as sent"),
    Variable("JOB_IDEMPOTENCY_TTL", values.duration("1s"), "24h", "how long an idempotency key is kept"),
    Variable(
        "EVENT_RETENTION", values.duration("24h"), None, "age at which ended jobs may leave the log; kept if unset"
    ),
    Variable("PROBE_PORT", values.integer(0, 65535), None, "probes and metrics of worker, scheduler, projector"),
    Variable("LOG_LEVEL", values.choice("debug", "info", "warning", "error"), "info", "least severe lines shown"),
    Variable("LOG_FORMAT", values.choice("json", "console"), "json", "one JSON object a line, or coloured text"),
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
