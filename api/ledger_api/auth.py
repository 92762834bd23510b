"""Keys: who a request's credentials belong to, and whether anybody may come in without any.

Keys come from `API_KEYS` and from the table that `ledger key create` fills. The table is read at most once a second and
process, whatever is asked, so that a revoked key is refused within about a second and guessing costs no queries. Those
of the environment are looked at first: they work while Postgres is away. Then nobody can say whether another key is
good, and the answer to one is 503.

A key is demanded where `API_KEYS` has one; where the table has ever had one, be it expired or revoked by now, for a
door that a key has closed must not open when that key ends; and wherever the server would else be open to the network
without `--insecure`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import threading
import time
from typing import TYPE_CHECKING

from ledger import settings as settings_
from ledger.errors import Unavailable
from ledger_api.callers import ANYBODY, Caller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ledger.api_keys import ApiKeys, KnownKeys
    from ledger.settings import ApiKey

FRESH = 1.0
"""Seconds for which what the table said is believed."""


class Keyring:
    """Every key there is. Safe to share by threads."""

    def __init__(
        self,
        own: tuple[ApiKey, ...],
        stored: ApiKeys,
        *,
        is_closed: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own, self._stored = own, _Snapshot(stored, now)
        self._is_closed = is_closed or bool(own)

    def identify(self, authorization: str | None) -> Caller | None:
        """Return whose credentials these are, None where a key is needed and this is none.

        Raise Unavailable where only Postgres could tell.
        """
        given = None if authorization is None else _credentials(authorization)
        if given is not None and (key := _find(self._own, *given)) is not None:
            return Caller(key.name, key.scope)
        if given is None and self._is_closed:
            return None
        known = self._stored.read()
        if given is not None and (key := _find(known.valid, *given)) is not None:
            return Caller(key.name, key.scope)
        return None if self._is_closed or known.exist else ANYBODY


class _Snapshot:
    """What the table says, asked again once that is a second old. Where it cannot be asked, only those who were waiting
    for the same answer share it: who comes later may find Postgres back.
    """

    def __init__(self, stored: ApiKeys, now: Callable[[], float]) -> None:
        self._stored, self._now = stored, now
        self._lock = threading.Lock()
        self._answered_at = float("-inf")
        self._answer: KnownKeys | Unavailable = Unavailable("nobody has asked yet")

    def read(self) -> KnownKeys:
        came_at = self._now()
        with self._lock:
            believed = 0.0 if isinstance(self._answer, Unavailable) else FRESH
            if self._answered_at + believed <= came_at:
                self._answer = self._ask()
                self._answered_at = self._now()
            answer = self._answer
        if isinstance(answer, Unavailable):
            raise Unavailable(str(answer))
        return answer

    def _ask(self) -> KnownKeys | Unavailable:
        try:
            return self._stored.known()
        except Unavailable as error:
            return error


def _find(keys: Iterable[ApiKey], name: str | None, secret: bytes) -> ApiKey | None:
    """Return the key with this secret, in a time that does not tell how much of it was right."""
    digest = settings_.digest(secret)
    found: ApiKey | None = None
    for key in keys:
        if hmac.compare_digest(key.digest, digest) and name in (None, key.name):
            found = key
    return found


def _credentials(authorization: str) -> tuple[str | None, bytes] | None:
    """Return name and secret as sent, the name only by Basic; None for what cannot be read."""
    scheme, _, rest = authorization.strip().partition(" ")
    sent = rest.strip().encode("latin-1", "replace")  # header bytes arrive as latin-1
    if scheme.lower() == "bearer":
        return None, sent
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(sent, validate=True).partition(b":")
        return name.decode(), secret
    except (binascii.Error, UnicodeDecodeError):
        return None
