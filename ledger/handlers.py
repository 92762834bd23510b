"""What a user's application registers: types, the functions that run them, and how a payload becomes arguments.

The signature of a handler is its schema. Payload members are passed by name, each checked against its annotation; or
one parameter typed with a Struct, a dataclass or a TypedDict takes the whole payload. The same check runs where a job
is enqueued, so a wrong argument is the caller's error before anything is on record.
"""

from __future__ import annotations

import inspect
import threading
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, is_dataclass
from datetime import timedelta
from typing import Any, Generic, Literal, NamedTuple, ParamSpec, TypeVar

import msgspec
import orjson

from ledger.errors import Breach, InvalidRequest, UnknownType
from ledger.events import Priority

if typing.TYPE_CHECKING:
    from uuid import UUID

P = ParamSpec("P")
R = TypeVar("R")

Duration = timedelta | float | str
"""As Python callers may write one: a timedelta, seconds, or a string such as `90s`."""

Middleware = Callable[["Job", Callable[["Job"], Any]], Any]
"""`(job, call_next) -> result`, outermost first."""

OPTIONS = frozenset(
    {
        "queue", "priority", "max_retries", "timeout", "delay", "run_at", "expires_at", "deadline", "retry",
        "metadata", "idempotency_key", "correlation_id", "job_id", "payload_version", "connection",
    }
)  # fmt: skip
"""The options of `.enqueue`; a payload member of the same name could not be told from them."""


_FIRST_WAIT = threading.Lock()


class Token(NamedTuple):
    """The right to run this job now. It rises strictly within a job: hand it to whatever the handler writes to, which
    can then refuse a writer that has been overtaken.
    """

    job_id: UUID
    lease_version: int

    def __str__(self) -> str:
        return f"{self.job_id}:{self.lease_version}"


@dataclass(slots=True, kw_only=True)
class Job:
    """What a handler is told about the run it is in."""

    id: UUID
    type: str
    body: bytes
    """The payload as it was sent."""
    queue: str
    priority: str
    attempt: int
    retry_count: int
    max_retries: int
    timeout: timedelta
    metadata: Mapping[str, str]
    token: Token
    correlation_id: str
    worker_id: str
    traceparent: str | None = None
    _cancelled: bool = field(default=False, init=False, repr=False)
    _stop: threading.Event | None = field(default=None, init=False, repr=False)
    """Made by the first `wait`: most handlers never do."""

    @property
    def payload(self) -> Any:
        """The payload, decoded anew at each call."""
        return orjson.loads(self.body)

    @property
    def cancelled(self) -> bool:
        """True once the run should stop: cancelled, over its time, or its worker is leaving. Look often."""
        return self._cancelled

    def cancel(self) -> None:
        """Ask the handler to stop; for the worker."""
        self._cancelled = True  # first, so that a wait that begins at this moment sees it
        if self._stop is not None:
            self._stop.set()

    def wait(self, timeout: float) -> bool:
        """Wait up to so many seconds and return True at once when asked to stop: the sleep of a polite handler."""
        with _FIRST_WAIT:
            stop = self._stop = self._stop or threading.Event()
        return self._cancelled or stop.wait(timeout)


current_job: ContextVar[Job | None] = ContextVar("ledger_current_job", default=None)
"""The job whose handler is running here; what it enqueues says so in the log."""


class Handler(Generic[P, R]):
    """A registered type. Still callable as the function it decorates; `enqueue` makes a job of it instead."""

    def __init__(self, function: Callable[P, R], type_: str, options: Mapping[str, Any], executor: str) -> None:
        self.function = function
        self.type = type_
        self.options = dict(options)
        self.executor = executor
        self.is_async = inspect.iscoroutinefunction(function)
        self._binding = _Binding(function, type_)
        self.__name__ = getattr(function, "__name__", type_)
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def run(self, job: Job) -> R | Awaitable[R]:
        """Call the function with what the job's payload says; raise InvalidRequest if the payload does not fit."""
        function: Callable[..., Any] = self.function
        return function(**self._binding.arguments(job))

    def encode(self, arguments: Mapping[str, Any]) -> bytes:
        """Return the payload these arguments make; raise InvalidRequest where they would not fit the handler."""
        return self._binding.encode(arguments)


class Handlers(Mapping[str, Handler[..., Any]]):
    """The types an application knows. Registering one twice is refused."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler[..., Any]] = {}

    def __getitem__(self, type_: str) -> Handler[..., Any]:
        try:
            return self._handlers[type_]
        except KeyError:
            raise UnknownType(type_, list(self._handlers)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._handlers)

    def __len__(self) -> int:
        return len(self._handlers)

    def __contains__(self, type_: object) -> bool:
        return type_ in self._handlers

    def get(self, key: str, default: Any = None) -> Any:
        return self._handlers.get(key, default)

    def add(self, handler: Handler[..., Any]) -> None:
        if handler.type in self._handlers:
            raise ValueError(f"type {handler.type!r} is registered already; give one of the two another name")
        self._handlers[handler.type] = handler


class _Binding:
    """From payload to keyword arguments and back, by the function's signature; made once, at registration."""

    def __init__(self, function: Callable[..., Any], type_: str) -> None:
        hints = _hints(function)
        parameters = list(inspect.signature(function).parameters.values())
        self._type = type_
        self._job: str | None = None
        self._whole: tuple[str, Any] | None = None
        self._open = False
        members: list[Any] = []
        for parameter in parameters:
            hint = hints.get(parameter.name, Any)
            if parameter.kind is parameter.VAR_KEYWORD:
                self._open = True
            elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
                raise ValueError(f"{type_}: parameter {parameter.name!r} cannot be passed by name; payload members are")
            elif hint is Job or (parameter.name == "job" and hint is Any):
                self._job = parameter.name
            elif parameter.name in OPTIONS:
                raise ValueError(f"{type_}: parameter {parameter.name!r} is named like an option of enqueue; rename it")
            elif _takes_all(hint) and len(parameters) <= 2:
                self._whole = (parameter.name, hint)
            else:
                members.append(_member(parameter, hint))
        if self._whole and members:
            self._whole, members = None, [_member(p, hints.get(p.name, Any)) for p in parameters if p.name != self._job]
        self._names = tuple(name for name, *_ in members)
        self._struct = msgspec.defstruct("Payload", members, kw_only=True, forbid_unknown_fields=not self._open)
        self._decoder = msgspec.json.Decoder(self._whole[1] if self._whole else self._struct)

    def arguments(self, job: Job) -> dict[str, Any]:
        """Return the keyword arguments of this run."""
        arguments = self._decode(job.body)
        if self._job is not None:
            arguments[self._job] = job
        return arguments

    def encode(self, arguments: Mapping[str, Any]) -> bytes:
        if self._whole:
            arguments = arguments.get(self._whole[0], arguments)
        try:
            body = msgspec.json.encode(arguments)
        except (TypeError, ValueError) as error:
            raise InvalidRequest([Breach("/payload", f"cannot be written as JSON: {error}")]) from error
        self._decode(body)
        return body

    def _decode(self, body: bytes) -> dict[str, Any]:
        try:
            decoded = self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise InvalidRequest([Breach("/payload", f"does not fit {self._type}: {error}")]) from error
        if self._whole:
            return {self._whole[0]: decoded}
        arguments = {name: getattr(decoded, name) for name in self._names}
        if self._open:
            arguments |= {k: v for k, v in orjson.loads(body).items() if k not in arguments}
        # A default that was left out stays the function's own business: it may be mutable, or mean "not given".
        return {name: value for name, value in arguments.items() if value is not msgspec.UNSET}


def _member(parameter: inspect.Parameter, hint: Any) -> tuple[str, Any] | tuple[str, Any, Any]:
    checked = hint if _checkable(hint) else Any
    if parameter.default is parameter.empty:
        return (parameter.name, checked)
    return (parameter.name, checked | msgspec.UnsetType if checked is not Any else Any, msgspec.UNSET)


def _checkable(hint: Any) -> bool:
    try:
        msgspec.json.Decoder(hint)
    except (TypeError, ValueError, NotImplementedError):
        return False
    return True


def _takes_all(hint: Any) -> bool:
    return isinstance(hint, type) and (
        issubclass(hint, msgspec.Struct) or is_dataclass(hint) or typing.is_typeddict(hint)
    )


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError):
        # An annotation that only type checkers can resolve: the member is then taken as it comes.
        return {}


Executor = Literal["thread", "process"]
Level = Literal["critical", "high", "medium", "low"]

__all__ = [
    "OPTIONS", "Duration", "Executor", "Handler", "Handlers", "Job", "Level", "Middleware", "Priority", "Token",
    "current_job",
]  # fmt: skip
