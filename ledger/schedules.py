"""The schedules in Postgres: made, changed, paused, run by hand.

A change is a compare-and-set on the version: whoever was faster wins, the other looks again. It rises with ticks too,
so a change can never undo one. What was changed, by whom and why goes into the audit in the same transaction. A change
of expression or zone, and a resume, count from the present: ticks that were missed while paused are not caught up.

A schedule of origin `code` is defined by an application: it may be paused, resumed, run and deleted from outside (it
comes back when a worker of that application starts), but its definition is changed in code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec.structs import replace
from psycopg.errors import UniqueViolation

from ledger import audit, cron, ids
from ledger.errors import ScheduleChanged, ScheduleExists, ScheduleInCode, ScheduleNotFound
from ledger.events import Enqueued, Priority
from ledger.opening import actor_now, opened, opening, taken
from ledger.payloads import written
from ledger.postgres import append_on
from ledger.requests import Submission
from ledger.runtime.statements import statement
from ledger.schedule import Definition, Origin, Schedule, from_row, schedule_resource, to_columns
from ledger.schedule_requests import changed_definition, check_changes, new_definition
from ledger.texts import is_keepable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from ledger.doors import Doors
    from ledger.job import JobState
    from ledger.log import Append
    from ledger.runtime.statements import Executes

_SELECT = statement("ledger", "schedules/select")
_SELECT_PAGE = statement("ledger", "schedules/select_page")
_INSERT = statement("ledger", "schedules/insert")
_UPDATE = statement("ledger", "schedules/update")
_DELETE = statement("ledger", "schedules/delete")


class Schedules:
    """The schedules of the database behind these doors. A `key` is an id or a name.

    Changes raise ScheduleNotFound, and with `if_version` ScheduleChanged where it is another one.
    """

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    def get(self, key: UUID | str) -> Schedule:
        """Return the schedule; raise ScheduleNotFound."""
        row = None
        if isinstance(key, UUID) or is_keepable(key):
            wanted = {"id": key if isinstance(key, UUID) else ids.parse(key), "name": str(key)}
            with self._doors.database.connection() as connection:
                row = connection.execute(_SELECT, wanted, binary=True).fetchone()
        if row is None:
            raise ScheduleNotFound(key)
        return from_row(row)

    def list(self, *, is_active: bool | None = None, after: str = "", limit: int = 100) -> list[Schedule]:
        """Return a page of schedules by name, beginning behind the name `after`."""
        wanted = {"is_active": is_active, "after": after, "limit": limit}
        with self._doors.database.connection() as connection:
            return [from_row(row) for row in connection.execute(_SELECT_PAGE, wanted, binary=True).fetchall()]

    def next_times(self, key: UUID | str, count: int = 10) -> list[datetime]:
        """Return the next ticks from now on; of a paused schedule, those it would have."""
        return self.get(key).ticks_after(self._doors.now(), count)

    def create(
        self,
        members: Mapping[str, Any],
        payload: bytes | None = None,
        *,
        from_json: bool = False,
        actor: str | None = None,
        reason: str | None = None,
    ) -> Schedule:
        """Make a schedule. Raises InvalidRequest with every breach, ScheduleExists.

        `members` are the fields of a request as JSON spells them (or, without `from_json`, Python); the payload's exact
        bytes, where there are some, are `payload`.
        """
        payload = _payload(members, payload)
        definition = new_definition(members, payload, self._doors.settings, from_json=from_json)
        made = self.define(definition, "api", actor=actor, reason=reason)
        if made is None:
            raise ScheduleExists(definition.name)
        return made

    def define(
        self, definition: Definition, origin: Origin, *, actor: str | None = None, reason: str | None = None
    ) -> Schedule | None:
        """Make a schedule of a checked definition; None where its name is taken."""
        now = self._doors.now()
        schedule = Schedule(
            **_values(definition), id=ids.mint(), version=1, origin=origin, created_at=now, updated_at=now
        )
        schedule = replace(schedule, next_run_at=_next(schedule, now))
        with self._doors.database.connection() as connection, connection.transaction():
            if connection.execute(_INSERT, to_columns(schedule)).fetchone() is None:
                return None
            _record(connection, "created", None, schedule, actor, reason)
        return schedule

    def update(
        self,
        key: UUID | str,
        members: Mapping[str, Any],
        payload: bytes | None = None,
        *,
        from_json: bool = False,
        actor: str | None = None,
        reason: str | None = None,
        if_version: int | None = None,
    ) -> Schedule:
        """Change these members. Raises InvalidRequest with every breach, ScheduleExists, ScheduleInCode."""
        payload = _payload(members, payload)
        settings = self._doors.settings
        check_changes(members, payload, settings, from_json=from_json)

        def changed(schedule: Schedule) -> Schedule:
            wanted = changed_definition(schedule.definition, members, payload, settings, from_json=from_json)
            if schedule.origin == "code" and replace(wanted, is_active=schedule.is_active) != schedule.definition:
                raise ScheduleInCode(schedule.name, schedule.version)
            return self._redefined(schedule, wanted)

        return self._change(key, changed, "updated", actor, reason, if_version)

    def redefine(self, key: UUID | str, definition: Definition, *, actor: str | None = None) -> Schedule:
        """Give a schedule that is defined in code its new definition; whether it is paused stays as it is."""

        def changed(schedule: Schedule) -> Schedule:
            return self._redefined(schedule, replace(definition, is_active=schedule.is_active))

        return self._change(key, changed, "updated", actor, "as defined in code", None)

    def pause(self, key: UUID | str, reason: str | None = None, **how: Any) -> Schedule:
        """Let it tick no more. `how`: `actor=` says who, `if_version=` demands the version."""
        return self._switch(key, "paused", reason, is_active=False, **how)

    def resume(self, key: UUID | str, reason: str | None = None, **how: Any) -> Schedule:
        """Let it tick again, from now on. `how` as in `pause`."""
        return self._switch(key, "resumed", reason, is_active=True, **how)

    def delete(
        self, key: UUID | str, reason: str | None = None, *, actor: str | None = None, if_version: int | None = None
    ) -> Schedule:
        """Remove it, and return it as it was; its jobs stay."""
        while True:
            schedule = self._demanded(key, if_version)
            with self._doors.database.connection() as connection, connection.transaction():
                if connection.execute(_DELETE, {"id": schedule.id, "version": schedule.version}).fetchone():
                    _record(connection, "deleted", schedule, None, actor, reason)
                    return schedule

    def run_now(
        self,
        key: UUID | str,
        reason: str | None = None,
        *,
        actor: str | None = None,
        if_version: int | None = None,
        traceparent: str | None = None,
    ) -> JobState:
        """Make a job of it at once, also while it is paused, and return that; the next tick stays as it is."""
        made: list[JobState] = []

        def run(schedule: Schedule) -> Schedule:
            append = self._by_hand(schedule, actor, reason, traceparent)
            appends[:] = [append]
            return replace(
                schedule, last_run_at=self._doors.now(), last_run_status="enqueued", last_job_id=append.job_id
            )

        def also(connection: Executes) -> None:
            recorded = taken(append_on(connection, appends))
            made.append(opened(appends[0], recorded[0]))

        appends: list[Append] = []
        self._change(key, run, "run", actor, reason, if_version, also)
        self._doors.waker.wake()
        return made[0]

    def _by_hand(self, schedule: Schedule, actor: str | None, reason: str | None, traceparent: str | None) -> Append:
        wanted = Submission(
            request=schedule.request(self._doors.settings.retry_policy),
            queue=schedule.queue,
            priority=Priority(schedule.priority),
            job_id=None,
            correlation_id=None,
            fingerprint=b"",
        )
        append = opening(wanted, actor_now(actor), self._doors.now(), traceparent)
        return replace(append, events=(Enqueued(request=wanted.request, note=reason),))

    def _switch(
        self,
        key: UUID | str,
        action: str,
        reason: str | None,
        *,
        is_active: bool,
        actor: str | None = None,
        if_version: int | None = None,
    ) -> Schedule:
        def switched(schedule: Schedule) -> Schedule:
            return self._redefined(schedule, replace(schedule.definition, is_active=is_active))

        return self._change(key, switched, action, actor, reason, if_version)

    def _redefined(self, schedule: Schedule, definition: Definition) -> Schedule:
        """Return the schedule with this definition; itself where that says nothing new."""
        if definition == schedule.definition:
            return schedule
        after = replace(schedule, **_values(definition))
        same_times = all(getattr(after, name) == getattr(schedule, name) for name in _TIMES)
        return after if same_times else replace(after, next_run_at=_next(after, self._doors.now()))

    def _change(
        self,
        key: UUID | str,
        rule: Callable[[Schedule], Schedule],
        action: str,
        actor: str | None,
        reason: str | None,
        if_version: int | None,
        also: Callable[[Executes], None] = lambda _: None,
    ) -> Schedule:
        """Ask the rule what becomes of the schedule and write that; when another writer was faster, look again."""
        while True:
            before = self._demanded(key, if_version)
            after = rule(before)
            if after is before:
                return before
            try:
                written = self._write(before, after, action, actor, reason, also)
            except UniqueViolation as error:
                raise ScheduleExists(after.name) from error
            if written is not None:
                return written

    def _write(
        self,
        before: Schedule,
        after: Schedule,
        action: str,
        actor: str | None,
        reason: str | None,
        also: Callable[[Executes], None],
    ) -> Schedule | None:
        with self._doors.database.connection() as connection, connection.transaction():
            row = connection.execute(_UPDATE, to_columns(after)).fetchone()
            if row is None:
                return None
            also(connection)
            after = replace(after, version=row[0], updated_at=row[1])
            _record(connection, action, before, after, actor, reason)
            return after

    def _demanded(self, key: UUID | str, if_version: int | None) -> Schedule:
        schedule = self.get(key)
        if if_version is not None and schedule.version != if_version:
            raise ScheduleChanged(schedule.name, if_version, schedule.version)
        return schedule


_TIMES = ("cron_expression", "timezone", "is_active")
"""What decides when the next tick is."""


def _payload(members: Mapping[str, Any], payload: bytes | None) -> bytes | None:
    given = members.get("payload")
    return payload if payload is not None or not isinstance(given, dict) else written(given)


def _values(definition: Definition) -> dict[str, Any]:
    return {name: getattr(definition, name) for name in Definition.__struct_fields__}


def _next(schedule: Schedule, now: datetime) -> datetime | None:
    if not schedule.is_active:
        return None
    return cron.parse(schedule.cron_expression).after(now, schedule.zone, schedule.created_at)


def _record(
    connection: Executes,
    action: str,
    before: Schedule | None,
    after: Schedule | None,
    actor: str | None,
    reason: str | None,
) -> None:
    subject = after or before
    assert subject is not None
    audit.record(
        connection,
        actor=actor_now(actor),
        action=f"schedule.{action}",
        subject=subject.name,
        reason=reason,
        before=None if before is None else schedule_resource(before),
        after=None if after is None else schedule_resource(after),
    )
