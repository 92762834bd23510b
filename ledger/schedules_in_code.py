"""Schedules that an application defines beside its handlers, and how they get into Postgres.

Workers bring them there at their start: what is new is made, what differs is changed, and whether it is paused stays
with those who paused it. Nothing is ever deleted by itself, for several applications share a database and none knows
the others' schedules; `ledger schedule delete` does it. Of two releases that define a schedule differently, the one
whose worker started last has the say.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import structlog
from msgspec.structs import replace

from ledger import settings as settings_
from ledger.errors import ScheduleNotFound
from ledger.handlers import Handler, Handlers
from ledger.requests import span, submission
from ledger.runtime.service import Loop
from ledger.schedule_requests import MEMBERS, new_definition
from ledger.schedules import Schedules

if TYPE_CHECKING:
    from ledger.doors import Doors
    from ledger.handlers import Duration
    from ledger.schedule import CatchUp, Definition, Overlap
    from ledger.settings import Settings

log = structlog.get_logger()

H = TypeVar("H", bound=Handler[..., Any])

_ANY_TIME = datetime.min.replace(tzinfo=UTC)


class CodeSchedule(msgspec.Struct, frozen=True):
    """A schedule as code has it: a request whose defaults come from the handler and the settings."""

    handler: Handler[..., Any]
    members: Mapping[str, Any]
    payload: bytes

    def definition(self, settings: Settings) -> Definition:
        """Return it complete; raise InvalidRequest with every breach."""
        definition = new_definition(self.members, self.payload, settings)
        retry = self.handler.options.get("retry")
        if retry is not None:
            # What a policy leaves open is the settings'.
            asked = {"type": self.handler.type, "retry": retry}
            definition = replace(definition, retry=submission(asked, b"{}", settings, _ANY_TIME).request.retry)
        return replace(definition, payload_version=self.handler.version)


class CodeSchedules(Mapping[str, CodeSchedule]):
    """The schedules an application defines, by name. Defining one twice is refused."""

    def __init__(self) -> None:
        self._schedules: dict[str, CodeSchedule] = {}

    def __getitem__(self, name: str) -> CodeSchedule:
        return self._schedules[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._schedules)

    def __len__(self) -> int:
        return len(self._schedules)

    def add(self, name: str, schedule: CodeSchedule) -> None:
        if name in self._schedules:
            raise ValueError(f"schedule {name!r} is defined already; give one of the two another name=")
        self._schedules[name] = schedule


class SchedulesInCode:
    """The part of a `Ledger` that defines schedules."""

    handlers: Handlers
    schedules: CodeSchedules

    def schedule(
        self,
        cron_expression: str,
        *,
        name: str | None = None,
        payload: Mapping[str, Any] | None = None,
        timezone: str = "UTC",
        catch_up: CatchUp = "once",
        catch_up_window: Duration = 86400.0,
        overlap: Overlap = "allow",
        metadata: Mapping[str, str] | None = None,
        is_active: bool = True,
    ) -> Callable[[H], H]:
        """Run a handler by the clock; goes on top of `@ledger.job(…)`, whose options hold for its jobs.

        The name is the handler's type unless another is given; several schedules may run one handler. `is_active` says
        how it begins: afterwards whoever pauses and resumes it decides. Raises InvalidRequest for a bad expression,
        zone or payload, and ValueError for a name defined twice.
        """

        def define(handler: H) -> H:
            if handler not in self.handlers.values():
                raise TypeError("@ledger.schedule goes on top of @ledger.job of the same ledger")
            called = handler.type if name is None else name
            options = {key: value for key, value in handler.options.items() if key in MEMBERS}
            members = options | {
                "name": called,
                "job_type": handler.type,
                "cron_expression": cron_expression,
                "timezone": timezone,
                "catch_up": catch_up,
                "catch_up_window_seconds": span(catch_up_window).total_seconds(),
                "overlap": overlap,
                "metadata": dict(metadata or {}),
                "is_active": is_active,
            }
            defined = CodeSchedule(handler, members, handler.encode(payload or {}))
            defined.definition(settings_.from_env({}))  # what is wrong is said where it is written
            self.schedules.add(called, defined)
            return handler

        return define


class Sync:
    """Brings an application's schedules into Postgres once; a service, so that it waits for a Postgres that is away."""

    name = "schedules in code"

    def __init__(self, doors: Doors, schedules: CodeSchedules, actor: str, done: Callable[[], None]) -> None:
        self._store = Schedules(doors)
        self._definitions = [schedule.definition(doors.settings) for schedule in schedules.values()]
        self._actor = actor
        self._done = done

    def run_once(self) -> bool:
        for definition in self._definitions:
            self._bring(definition)
        self._done()
        return False

    def _bring(self, definition: Definition) -> None:
        while self._store.define(definition, "code", actor=self._actor) is None:
            try:
                kept = self._store.get(definition.name)
                if kept.origin != "code":
                    log.error("a schedule of this name was made by hand, left alone", schedule=definition.name)
                else:
                    self._store.redefine(kept.id, definition, actor=self._actor)
                return
            except ScheduleNotFound:
                continue  # deleted at this moment


def bring_schedules(doors: Doors, schedules: CodeSchedules, actor: str) -> None:
    """Bring them into Postgres, on a thread of its own; raise InvalidRequest at once for one that is not allowed."""
    if schedules:
        done = threading.Event()
        no_pause = timedelta()
        Loop(Sync(doors, schedules, actor, done.set), done, shortest=no_pause, longest=no_pause).start()
