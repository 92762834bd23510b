"""The keys of the HTTP API that are kept in Postgres: made, listed and revoked by operators, all of it on record.

Of a secret only its SHA-256 is kept. It is 256 random bits, so nobody finds it by guessing, and no slow hash is needed.
Revoking and expiry are judged by the database's clock; no row is ever removed.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from psycopg.errors import UndefinedTable

from ledger import ids, settings
from ledger.audit import record
from ledger.errors import Breach, InvalidRequest, Unavailable
from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from datetime import datetime
    from uuid import UUID

    from psycopg import Connection

    from ledger.runtime.database import Database

_INSERT = statement("ledger", "api_keys/insert")
_SELECT = statement("ledger", "api_keys/select")
_DIGESTS = statement("ledger", "api_keys/select_digests")
_REVOKE = statement("ledger", "api_keys/revoke")

PREFIX = "ledger_"
"""What every secret begins with, so that people and scanners know one when they see it."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as people may see it."""

    id: UUID
    name: str
    scope: str
    state: str
    """valid, expired or revoked."""
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """What the table says at one moment: the keys that are good, and whether there has ever been one."""

    valid: tuple[settings.ApiKey, ...]
    exist: bool


class ApiKeys:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, name: str, scope: str, *, actor: str, expires: datetime | timedelta | None = None
    ) -> tuple[StoredKey, str]:
        """Make a key; return it with its secret, which is never seen again. The name may be in use: see `revoke`."""
        if not settings.QUEUE_NAME.fullmatch(name) or ids.parse(name) is not None:
            raise _breach("name", "must be letters, digits, '.', '_' and '-', at most 50, and no UUID")
        if scope not in settings.SCOPES:
            raise _breach("scope", f"must be one of {', '.join(settings.SCOPES)}")
        secret = PREFIX + secrets.token_urlsafe(32)
        values = {
            "id": ids.mint(),
            "name": name,
            "scope": scope,
            "digest": settings.digest(secret.encode()),
            "actor": actor,
            "expires_in": expires if isinstance(expires, timedelta) else None,
            "expires_at": None if isinstance(expires, timedelta) else expires,
        }
        with self._connection() as connection, connection.transaction():
            row = connection.execute(_INSERT, values).fetchone()
            if row is None:
                raise _breach("expires", "is already past")
            made = StoredKey(*row)
            after = {"id": made.id, "scope": scope, "expires_at": made.expires_at}
            record(connection, actor=actor, action="key.created", subject=name, after=after)
        return made, secret

    def list_keys(self) -> list[StoredKey]:
        with self._connection() as connection:
            return [StoredKey(*row) for row in connection.execute(_SELECT).fetchall()]

    def revoke(self, key_ids: Sequence[UUID], *, actor: str, reason: str | None = None) -> None:
        """Make these keys good for nothing, within a second or two in every process. Repeating it changes nothing."""
        with self._connection() as connection, connection.transaction():
            for key_id, name, revoked_at in connection.execute(_REVOKE, {"ids": list(key_ids)}).fetchall():
                before, after = ({"id": key_id, "revoked_at": at} for at in (None, revoked_at))
                about: dict[str, Any] = {"actor": actor, "action": "key.revoked", "subject": name, "reason": reason}
                record(connection, **about, before=before, after=after)

    def known(self) -> KnownKeys:
        with self._connection() as connection:
            rows = connection.execute(_DIGESTS).fetchall()
        valid = (settings.ApiKey(name, scope, digest) for name, scope, digest, is_valid in rows if is_valid)
        return KnownKeys(tuple(valid), exist=bool(rows))

    @contextmanager
    def _connection(self) -> Generator[Connection[Any]]:
        try:
            with self._database.connection() as connection:
                yield connection
        except UndefinedTable as error:
            raise Unavailable("the database is not up to date; run `ledger db migrate`") from error


def _breach(name: str, detail: str) -> InvalidRequest:
    return InvalidRequest([Breach(f"/{name}", detail)])
