"""Query parameters that several routes take, as the document describes them; `ledger_api.parameters` reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from ledger import fields
from ledger_api.openapi.operation import Parameter
from ledger_api.parameters import DEFAULT_LIMIT, LARGEST_LIMIT, LARGEST_OFFSET

if TYPE_CHECKING:
    from collections.abc import Iterable

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"}, examples=["2026-11-24T08:00:00Z"])]
Text = Annotated[str, Meta(min_length=1, max_length=1000)]
Texts = Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1)]


def one_of(words: Iterable[str]) -> Any:
    """Return the type of a word out of a closed list."""
    choice: Any = Literal
    return choice[tuple(words)]


def some_of(words: Iterable[str]) -> Any:
    """Return the type of several such words."""
    return Annotated[list[one_of(words)], Meta(min_length=1)]


def time(name: str, description: str) -> Parameter:
    return Parameter(name, Time, description)


LIMIT = Parameter("limit", Annotated[int, Meta(ge=1, le=LARGEST_LIMIT)], "The longest page.", default=DEFAULT_LIMIT)
CURSOR = Parameter("cursor", Text, "Where to go on: `Next-Cursor` of the page before, with the same filters.")
OFFSET = Parameter(
    "offset", Annotated[int, Meta(ge=0, le=LARGEST_OFFSET)], "For clients that know no cursors; not both.", default=0
)
PAGE = (LIMIT, CURSOR)

TYPE = Parameter("type", Texts, "Only of these types.")
QUEUE = Parameter("queue", Texts, "Only of these queues.")
WORKER = Parameter("worker_id", Text, "Only of this worker.")
REASON = Parameter("reason", fields.Reason, "Kept in the event.")
