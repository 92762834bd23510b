"""What a user's application registers: types, and the functions that run them.

A handler knows how its payload becomes arguments (`ledger.binding`), how payloads of older versions are lifted to the
one it was written for (`ledger.upcasting`), and which of its errors are worth a retry (`ledger.outcomes`).
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Generic, Literal, NoReturn, ParamSpec, TypeVar, get_args

from ledger.binding import OPTIONS, Binding
from ledger.errors import UnknownType
from ledger.events import Priority
from ledger.outcomes import NO_RULES, ErrorRules
from ledger.running import Job, Token, current_job
from ledger.upcasting import Upcast, Upcasts

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=Callable[..., Any])

Duration = timedelta | float | str
"""As Python callers may write one: a timedelta, seconds, or a string such as `90s`."""

Middleware = Callable[[Job, Callable[[Job], Any]], Any]
"""`(job, call_next) -> result`, outermost first."""

Executor = Literal["thread", "process"]
Level = Literal["critical", "high", "medium", "low"]
Errors = type[BaseException] | Sequence[type[BaseException]]


class Handler(Generic[P, R]):
    """A registered type. Still callable as the function it decorates; `enqueue` makes a job of it instead."""

    def __init__(
        self,
        function: Callable[P, R],
        type_: str,
        options: Mapping[str, Any],
        executor: str,
        *,
        version: int = 1,
        rules: ErrorRules = NO_RULES,
    ) -> None:
        if executor not in get_args(Executor):
            raise ValueError(
                f"{type_}: there is no executor {executor!r}; it is one of {', '.join(get_args(Executor))}"
            )
        if any(inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each) for each in _calls(function)):
            raise ValueError(f"{type_}: a generator would be made and never run; return a value instead of yielding")
        self.function = function
        self.type = type_
        self.options = dict(options)
        self.executor = executor
        self.rules = rules
        self.is_async = any(inspect.iscoroutinefunction(each) for each in _calls(function))
        self._binding = Binding(function, type_)
        self._upcasts = Upcasts(type_, version)
        self.__name__ = getattr(function, "__name__", type_)
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    @property
    def version(self) -> int:
        """The payload version this handler was written for."""
        return self._upcasts.version

    def upcast(self, from_version: int) -> Callable[[Upcast], Upcast]:
        """Register the function that lifts a payload from this version to the next: `dict -> dict`."""

        def register(step: Upcast) -> Upcast:
            self._upcasts.add(from_version, step)
            return step

        return register

    def run(self, job: Job) -> R | Awaitable[R]:
        """Call the function with what the job's payload says; raise InvalidRequest if the payload does not fit."""
        job.body = self._upcasts.lift(job.body, job.payload_version)
        job.payload_version = max(job.payload_version, self.version)
        function: Callable[..., Any] = self.function
        return function(**self._binding.arguments(job))

    def encode(self, arguments: Mapping[str, Any]) -> bytes:
        """Return the payload these arguments make; raise InvalidRequest where they would not fit the handler."""
        return self._binding.encode(arguments)


class Handlers(dict[str, Handler[..., Any]]):
    """The types an application knows, for `add` alone to change. Registering one twice is refused, asking for one that
    is not there raises UnknownType. A worker asks several times a job, so it is Python's own dictionary.
    """

    def __missing__(self, type_: str) -> NoReturn:
        raise UnknownType(type_, list(self))

    def can_run(self, job: Job) -> bool:
        """Say whether the type is known here, and its payload not of a version newer than the handler."""
        handler = self.get(job.type)
        return handler is not None and job.payload_version <= handler.version

    def add(self, handler: Handler[..., Any]) -> None:
        if handler.type in self:
            raise ValueError(f"type {handler.type!r} is registered already; give one of the two another name")
        self[handler.type] = handler


def callables(functions: Sequence[C]) -> Sequence[C]:
    """Return the functions; raise ValueError for what cannot be called."""
    for function in functions:
        if not callable(function):
            raise ValueError(f"{function!r} cannot be called")  # noqa: TRY004 — like all that is refused at registration
    return functions


def _calls(function: Callable[..., Any]) -> tuple[Any, Any]:
    """Return what may be a coroutine function: the function, or how an object is called that is none."""
    return function, getattr(function, "__call__", None)  # noqa: B004


def error_rules(retry_on: Errors | None, give_up_on: Errors | None) -> ErrorRules:
    """Return the rules that these lists of exceptions say; raise ValueError for what is no exception."""
    retried = None if retry_on is None else _kinds(retry_on)
    return ErrorRules(retried, () if give_up_on is None else _kinds(give_up_on))


def _kinds(errors: Errors) -> tuple[type[BaseException], ...]:
    given: tuple[Any, ...] = (errors,) if isinstance(errors, type) else tuple(errors)
    for kind in given:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ValueError(f"{kind!r} is not an exception class; retry_on and give_up_on take those")  # noqa: TRY004
    return given


__all__ = [
    "OPTIONS", "Duration", "Errors", "Executor", "Handler", "Handlers", "Job", "Level", "Middleware", "Priority",
    "Token", "callables", "current_job", "error_rules",
]  # fmt: skip
