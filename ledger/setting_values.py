"""How values of settings are read: each reader returns what a text means, or refuses it saying what is allowed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ledger import durations

if TYPE_CHECKING:
    from datetime import timedelta

Parse = Callable[[str], Any]

SCOPES = ("read", "write", "admin")
"""What a key may do; each includes the ones before."""

QUEUE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}", re.ASCII)

_AUTHORITY = re.compile(r"[a-z]+://(?:[^/?#]*@)?([^/?#@]*)([^?#]*)")
_HOST = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")


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


def text(text: str) -> str:
    return text


def duration(least: str, most: str | None = None) -> Parse:
    def parse(text: str) -> timedelta:
        span = durations.parse(text)
        if span < durations.parse(least) or (most and span > durations.parse(most)):
            raise ValueError(f"must be {f'{least} to {most}' if most else f'at least {least}'}")
        return span

    return parse


def integer(least: int, most: int | None = None) -> Parse:
    allowed = f"a whole number from {least} to {most}" if most else f"a whole number, at least {least}"

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or int(text) < least or (most and int(text) > most):
            raise ValueError(f"must be {allowed}")
        return int(text)

    return parse


def choice(*words: str) -> Parse:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return parse


def database_url(text: str) -> str:
    """Return a URL of Postgres. It may hold a password, so what is refused is never repeated."""
    from psycopg import ProgrammingError, conninfo  # noqa: PLC0415 — who has no URL needs no driver

    _check_url(text, ("postgresql", "postgres"), "postgresql://user:password@host:5432/database")
    try:
        conninfo.conninfo_to_dict(text)
    except ProgrammingError as error:
        raise ValueError("is not what Postgres understands; check its parameters and escapes") from error
    return text


def redis_url(text: str) -> str:
    """Return a URL of Redis or Valkey."""
    if text.startswith("unix://"):
        return text
    _, path = _check_url(text, ("redis", "rediss", "unix"), "redis://:password@host:6379/0")
    if not re.fullmatch(r"(?:/[0-9]{0,4})?", path):
        raise ValueError("must end in the number of a database, such as redis://:password@host:6379/0")
    return text


def _check_url(text: str, schemes: tuple[str, ...], right: str) -> tuple[str, str]:
    """Return hosts and path of a URL with one of these schemes; libpq takes several hosts."""
    if not text.startswith(tuple(f"{scheme}://" for scheme in schemes)):
        raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    found = _AUTHORITY.match(text)
    hosts = [_HOST.fullmatch(host) for host in found[1].split(",")] if found else [None]
    if found is None or any(host is None or not 0 < int(host[1] or 1) < 65536 for host in hosts):
        raise ValueError(f"names a host and port that cannot be; write it like {right}")
    return found[1], found[2]


def size(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,15})\s*(B|KiB|MiB)?", text)
    if not match or int(match[1]) < 1:
        raise ValueError("must be a size such as 65536, 512KiB or 1MiB")
    return int(match[1]) * {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}[match[2] or "B"]


def queues(text: str) -> tuple[Queue, ...]:
    """Read `critical,default,low`, or with weights `critical:6,default:3`; all have a weight or none has."""
    found: list[Queue] = []
    for item in text.split(","):
        name, colon, weight = map(str.strip, item.partition(":"))
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
        name, _, rest = item.partition(":")
        scope, _, secret = rest.partition(":")
        name, scope, secret = name.strip(), scope.strip(), secret.strip()
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
