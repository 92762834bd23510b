"""What a responder says about itself: a decorator beside its code, read when the document is put together.

Only what is special to the operation is said. What follows from its route, its method or its body (path parameters, the
scope of its key, the problems that any request can meet) is added by `ledger_api.openapi.document`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

R = TypeVar("R", bound=Callable[..., None])

Place = Literal["query", "header", "path"]

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or request header; its type is an annotated one, as in a msgspec Struct."""

    name: str
    type: Any
    description: str
    place: Place = "query"
    default: Any = None
    is_required: bool = False

    @property
    def is_list(self) -> bool:
        """Whether it takes values separated by commas."""
        bare = get_args(self.type)[0] if get_origin(self.type) is Annotated else self.type
        return get_origin(bare) is list


@dataclass(frozen=True, slots=True)
class Header:
    """A header of an answer."""

    name: str
    type: Any
    description: str
    is_always_there: bool = True


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body: its type, and whether it may be left out."""

    type: Any
    is_optional: bool = False
    examples: Mapping[str, Any] = field(default_factory=dict[str, Any])
    media_types: tuple[str, ...] = (JSON,)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a success looks like; `type` None is an answer without a body."""

    type: Any
    description: str
    headers: tuple[Header, ...] = ()
    media_type: str = JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one route, as its responder describes it."""

    id: str
    """Never changes: generated clients are named after it. `{}` stands for the end of the path, where routes share."""
    summary: str
    tag: str
    answers: Mapping[int, Answer]
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    problems: tuple[str, ...] = ()
    """Codes beside those that any such request can meet."""


def operation(
    id_: str,
    summary: str,
    *,
    tag: str,
    answers: Mapping[int, Answer],
    description: str = "",
    parameters: tuple[Parameter, ...] = (),
    body: Body | None = None,
    problems: tuple[str, ...] = (),
) -> Callable[[R], R]:
    """Describe a responder."""
    described = Operation(
        id=id_,
        summary=summary,
        tag=tag,
        answers=answers,
        description=description,
        parameters=parameters,
        body=body,
        problems=problems,
    )

    def describe(responder: R) -> R:
        responder.__dict__["operation"] = described
        return responder

    return describe


def operation_of(responder: Any) -> Operation | None:
    """Return what a responder says about itself."""
    return getattr(responder, "operation", None)
