"""What tools take: each argument with its JSON Schema and its place in the HTTP request that the tool stands for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from ledger.errors import Breach, InvalidRequest
from ledger.strict_json import escaped
from ledger_api.parameters import LARGEST_LIMIT, LARGEST_OFFSET, REASON_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Schema = dict[str, Any]


class Place(Enum):
    PATH = auto()
    QUERY = auto()
    BODY = auto()


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a tool; its value is judged by the API, except for what only paths and queries cannot carry."""

    name: str
    schema: Schema
    place: Place
    required: bool = False
    sent_as: str | None = None
    """The name in the path, where it is another one."""
    insisted: bool = False
    """Required by the tool, though the API would do without."""


def text(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def whole(description: str, least: int, most: int, **more: Any) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most, "description": description, **more}


def flag(description: str, default: bool) -> Schema:
    return {"type": "boolean", "default": default, "description": description}


def mapping(description: str, values: Schema | None = None, **more: Any) -> Schema:
    return {"type": "object", "description": description, "additionalProperties": values or True, **more}


def path(name: str, description: str, sent_as: str | None = None) -> Argument:
    return Argument(name, text(description), Place.PATH, required=True, sent_as=sent_as)


def query(name: str, schema: Schema) -> Argument:
    return Argument(name, schema, Place.QUERY)


def body(name: str, schema: Schema, *, required: bool = False, insisted: bool = False) -> Argument:
    return Argument(name, schema, Place.BODY, required=required or insisted, insisted=insisted)


TIME = "RFC 3339 with an offset, such as 2026-01-31T08:00:00Z."
DURATION = "A duration such as 300ms, 90s, 1h30m or PT90S."
PRIORITIES = ["critical", "high", "medium", "low"]

LIMIT = query("limit", whole("How many at most.", 1, LARGEST_LIMIT, default=100))
OFFSET = query("offset", whole("How many to pass over.", 0, LARGEST_OFFSET, default=0))
TYPES = query("type", text("Only these job types, comma-separated."))
QUEUES = query("queue", text("Only these queues, comma-separated."))
REASON = body("reason", text("Why; kept in the history.", maxLength=REASON_LIMIT))
JOB_ID = path("id", "The job's id, a UUID.", sent_as="job_id")
DEAD_LETTER_ID = path("id", "The dead letter's id (<job id>:<version>), or its job's id.", sent_as="id_")
QUEUE_NAME = path("name", "The queue's name.")
SCHEDULE_ID = path("id", "The schedule's id or name.")


def check(arguments: Mapping[str, Any], known: Sequence[Argument]) -> None:
    """Refuse what the HTTP request could not even be made of, all of it at once."""
    places = {argument.name: argument.place for argument in known}
    breaches = [
        Breach(f"/{escaped(name)}", "is not an argument of this tool") for name in arguments if name not in places
    ]
    breaches += [
        Breach(f"/{argument.name}", "is required")
        for argument in known
        if (argument.place is Place.PATH or argument.insisted) and argument.name not in arguments
    ]
    breaches += [
        Breach(f"/{name}", wrong)
        for name, value in arguments.items()
        if name in places and (wrong := _unsendable(value, places[name])) is not None
    ]
    if breaches:
        raise InvalidRequest(breaches)


def spelled(value: Any) -> str:
    """Return a value as a query parameter; 10.0 is the whole number that JSON takes it for."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _unsendable(value: Any, place: Place) -> str | None:
    match place:
        case Place.PATH if not isinstance(value, str):
            return "must be a string"
        case Place.QUERY if isinstance(value, bool) or not isinstance(value, str | int | float):
            return "must be a string or a number"
        case _:
            return None
