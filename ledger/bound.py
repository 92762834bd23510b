"""A registered handler of one application: the function it was, and able to enqueue itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from ledger.aio import Threads, twin
from ledger.errors import Breach, InvalidRequest
from ledger.handlers import OPTIONS, Handler
from ledger.payloads import Written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID


P = ParamSpec("P")
R = TypeVar("R")


class Application(Protocol):
    """What makes the jobs."""

    threads: Threads

    def enqueue(self, type: str, payload: Any = None, *, connection: Any = None, **options: Any) -> UUID: ...  # noqa: A002


class BoundHandler(Handler[P, R]):
    """Callable as before; `enqueue` and `schedule` make jobs of its type."""

    def __init__(
        self,
        ledger: Application,
        function: Callable[P, R],
        type_: str,
        options: Mapping[str, Any],
        executor: str,
        **how: Any,
    ) -> None:
        super().__init__(function, type_, options, executor, **how)
        self._ledger = ledger

    def enqueue(self, **arguments: Any) -> UUID:
        """Make a job of this type: payload members and the options of `Ledger.enqueue`, all by name."""
        options = self.options | {name: arguments.pop(name) for name in OPTIONS & arguments.keys()}
        connection = options.pop("connection", None)
        payload = Written(self.encode(arguments))
        return self._ledger.enqueue(self.type, payload, connection=connection, **options)

    def schedule(self, **arguments: Any) -> UUID:
        """Make a job for later: as `enqueue`, with `delay=` or `run_at=` required."""
        if ("delay" in arguments) == ("run_at" in arguments):
            raise InvalidRequest([Breach("/delay", "give either delay= or run_at=")])
        return self.enqueue(**arguments)

    aenqueue = twin(enqueue)
    aschedule = twin(schedule)

    @property
    def threads(self) -> Threads:
        return self._ledger.threads
