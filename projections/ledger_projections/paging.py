"""Keyset paging: a cursor is the place of a page's last row, bound to the filter it was made with.

Opaque to whoever carries it. It is no secret and proves nothing: a made-up one only finds another place in its list.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Generic, TypeVar
from uuid import UUID

import msgspec

from ledger.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
_Row = TypeVar("_Row")

LARGEST_PAGE = 1000


class InvalidCursor(LedgerError, ValueError):
    """A page cursor that is garbled, or was made with other filters."""

    def __init__(self) -> None:
        super().__init__("this cursor does not belong to this list; leave it out to begin with the first page")


class Place(msgspec.Struct, frozen=True):
    """Where a page ended: the total order of every list is a time, then an id, then (for attempts) a version."""

    at: datetime
    id: UUID
    version: int = 0


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Part of a list; `next_cursor` is None on the last page."""

    items: tuple[T, ...]
    next_cursor: str | None = None


class _Token(msgspec.Struct, frozen=True, array_like=True):
    bound_to: str
    place: Place


def encode_cursor(place: Place, bound_to: msgspec.Struct) -> str:
    """Return the cursor that continues after this place, good only with this filter."""
    return sealed(_Token(_digest(bound_to), place))


def decode_cursor(cursor: str | None, bound_to: msgspec.Struct) -> Place | None:
    """Return the place a cursor stands for; raise InvalidCursor unless it was made with this filter."""
    if cursor is None:
        return None
    token = unsealed(cursor, _Token)
    if token.bound_to != _digest(bound_to) or token.place.at.tzinfo is None:
        raise InvalidCursor
    return token.place


def sealed(token: msgspec.Struct) -> str:
    """Return the token as a cursor, for URLs."""
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).rstrip(b"=").decode()


def unsealed(cursor: str, shape: type[T]) -> T:
    """Return the token that a cursor is; raise InvalidCursor where it is none of this shape."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(text, type=shape)
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise InvalidCursor from error


def cut(
    rows: Sequence[_Row], limit: int, place: Callable[[_Row], Place], bound_to: msgspec.Struct
) -> tuple[Sequence[_Row], str | None]:
    """Return the page and the next cursor from rows that were read with one more than the limit."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], encode_cursor(place(rows[limit - 1]), bound_to)


def check_limit(limit: int) -> int:
    if not 1 <= limit <= LARGEST_PAGE:
        raise ValueError(f"a page has 1 to {LARGEST_PAGE} rows, not {limit}")
    return limit


def _digest(filters: msgspec.Struct) -> str:
    described = type(filters).__name__.encode() + msgspec.json.encode(filters)
    return hashlib.blake2b(described, digest_size=6).hexdigest()
