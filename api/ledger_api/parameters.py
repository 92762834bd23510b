"""Query parameters: read one by one, with everything that is wrong or unknown refused together at the end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote_to_bytes

from ledger import durations, ids, requests
from ledger.fields import REASON_LIMIT
from ledger_api.problems import invalid_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta
    from uuid import UUID

    import falcon

T = TypeVar("T")

DEFAULT_LIMIT = 100
LARGEST_LIMIT = 1000
LARGEST_OFFSET = 10_000

_WHOLE_NUMBER = re.compile(r"\d{1,10}", re.ASCII)


class Parameters:
    """The parameters of one request. Each reader returns a usable value even after a breach; `end` must be called."""

    def __init__(self, req: falcon.Request) -> None:
        self._given: dict[str, str | list[str]] = dict(req.params)
        self._sent: str = req.query_string
        self._known: set[str] = set()
        self._wrong: list[tuple[str, str]] = []

    def refuse(self, name: str, detail: str) -> None:
        self._wrong.append((name, detail))

    def end(self) -> None:
        """Refuse the request if anything was wrong, or if a parameter was given that nobody asked for."""
        if self._sent and not _is_utf8(self._sent):
            self.refuse("query", "is not UTF-8")
        for name in sorted(self._given.keys() - self._known):
            self.refuse(name, "is not a parameter of this route")
        if self._wrong:
            raise invalid_parameters(self._wrong)

    def has(self, name: str) -> bool:
        return name in self._given

    def text(self, name: str, longest: int = 1000) -> str | None:
        self._known.add(name)
        value = self._given.get(name)
        if value is None:
            return None
        if isinstance(value, list):
            self.refuse(name, "is given more than once")
        elif not value:
            self.refuse(name, "is empty")
        elif len(value) > longest:
            self.refuse(name, f"is longer than {longest} characters")
        elif "\x00" in value:
            self.refuse(name, "holds a null character")
        else:
            return value
        return None

    def many(self, name: str) -> tuple[str, ...]:
        """Read comma-separated values."""
        value = self._given.get(name)
        if isinstance(value, list):
            self._given[name] = ",".join(value)
        text = self.text(name, longest=10_000)
        if text is None:
            return ()
        values = tuple(dict.fromkeys(item.strip() for item in text.split(",")))
        if "" in values:
            self.refuse(name, "has an empty value in its list")
        return values

    def words(self, name: str, words: Mapping[str, T]) -> tuple[T, ...]:
        """Read comma-separated words out of a closed list, as what they stand for."""
        given = self.many(name)
        for word in given:
            if word not in words:
                self.refuse(name, f"{word!r} is not one of {', '.join(words)}")
        return tuple(dict.fromkeys(words[word] for word in given if word in words))

    def word(self, name: str, words: tuple[str, ...], default: str) -> str:
        value = self.text(name)
        if value is None or value in words:
            return value or default
        self.refuse(name, f"must be {' or '.join(words)}")
        return default

    def integer(self, name: str, least: int, most: int, default: int) -> int:
        value = self.text(name)
        if value is None:
            return default
        if not _WHOLE_NUMBER.fullmatch(value) or not least <= int(value) <= most:
            self.refuse(name, f"must be a whole number from {least} to {most}")
            return default
        return int(value)

    def limit(self, most: int = LARGEST_LIMIT) -> int:
        return self.integer("limit", 1, most, min(DEFAULT_LIMIT, most))

    def cursor(self) -> str | None:
        return self.text("cursor")

    def offset(self) -> int:
        """Read `offset`, which is there for clients that do not know cursors yet."""
        if self.has("offset") and self.has("cursor"):
            self.refuse("offset", "cannot be combined with cursor")
        return self.integer("offset", 0, LARGEST_OFFSET, 0)

    def time(self, name: str) -> datetime | None:
        value = self.text(name)
        if value is None:
            return None
        if len(value) > 6 and value[-6] == " ":
            value = f"{value[:-6]}+{value[-5:]}"  # a plus that was not percent-encoded arrives as a space
        try:
            return requests.instant(value)
        except ValueError as error:
            self.refuse(name, str(error))
            return None

    def duration(self, name: str, least: timedelta, most: timedelta, default: timedelta) -> timedelta:
        value = self.text(name)
        if value is None:
            return default
        try:
            span = durations.parse(value)
        except ValueError as error:
            self.refuse(name, str(error))
            return default
        if not least <= span <= most:
            self.refuse(name, f"must be {durations.in_words(least)} to {durations.in_words(most)}")
            return default
        return span

    def uuid(self, name: str) -> UUID | None:
        value = self.text(name)
        found = None if value is None else ids.parse(value)
        if value is not None and found is None:
            self.refuse(name, "must be a UUID")
        return found

    def reason(self) -> str | None:
        """Read `reason`; like that in a body it may be empty."""
        if self._given.get("reason") == "":
            self._known.add("reason")
            return ""
        return self.text("reason", longest=REASON_LIMIT)


def _is_utf8(query: str) -> bool:
    try:
        unquote_to_bytes(query).decode()
    except UnicodeDecodeError:
        return False
    return True
