"""What options of lists and bulk changes take: words, times, ids and text, as the HTTP API's query parameters do.

What is empty is refused: a script whose variable is unset must not list, or discard, everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from ledger_projections.words import meanings

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID


class Words(click.ParamType):  # pyright: ignore[reportMissingTypeArgument] — generic in newer releases only
    """Comma-separated words; where they are known, only those, or what job-queue called them."""

    name = "words"

    def __init__(self, *known: str) -> None:
        self._known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in str(value).split(",")]
        if not all(words):
            self.fail("holds an empty word", param, ctx)
        if self._known:
            words = [self._meant(word, param, ctx) for word in words]
        return tuple(dict.fromkeys(words))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del ctx, param
        before, comma, last = incomplete.rpartition(",")
        return [CompletionItem(f"{before}{comma}{word}") for word in self._known if word.startswith(last)]

    def _meant(self, word: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        meant = meanings(self._known).get(word)
        if meant is None:
            hint = "; no job rests there: use retrying or dead" if word == "failed" else ""
            self.fail(f"{word!r} is not one of {', '.join(self._known)}{hint}", param, ctx)
        return meant


class Text(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]
    """Any text but none."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value if value.strip() else self.fail("is empty", param, ctx)


class Instant(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]
    """A time in RFC 3339."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        from ledger.requests import instant  # noqa: PLC0415 — the help page needs none of this

        try:
            return instant(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Id(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]
    """A UUID."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> UUID:
        from ledger import ids  # noqa: PLC0415

        return ids.parse(value) or self.fail("must be a UUID", param, ctx)


def paging(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a list its page options."""
    limit = click.option("--limit", type=click.IntRange(1, 1000), default=100, help="Rows a page.  [default: 100]")
    return limit(click.option("--cursor", type=Text(), help="Go on where the page before ended.")(command))
