"""Schedules over HTTP: made, listed, changed, paused, run by hand and taken away; `{id}` is an id or a name.

They are read from where they are kept, so every answer is current. A change at a demanded version is a compare-and-set
in Postgres; the rules are those of `ledger.schedules`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import falcon
import msgspec
from ledger_projections.paging import InvalidCursor, sealed, unsealed
from msgspec import UNSET, Meta, UnsetType

from ledger import strict_json
from ledger.resources import dumps
from ledger.schedule import schedule_resource, tick_resource
from ledger.schedule_requests import ScheduleRequest, check_changes
from ledger.schedules import Schedules as Store
from ledger_api import bodies, schemas
from ledger_api.callers import actor
from ledger_api.conditional import demanded_versions, known_versions, send_version, set_version
from ledger_api.jobs import send_made, traceparent
from ledger_api.openapi import headers, queries
from ledger_api.openapi.operation import Answer, Body, Parameter, operation
from ledger_api.pages import send_page
from ledger_api.parameters import Parameters
from ledger_api.problems import precondition_failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger import Ledger
    from ledger.job import JobState
    from ledger.schedule import Schedule as Kept
    from ledger_api.conditional import Versions

MERGE_PATCH = "application/merge-patch+json"
MOST_TICKS = 100
TICKS = 10

EXAMPLES = {
    "least": {"name": "nightly", "job_type": "report.build", "cron_expression": "@daily"},
    "usual": {
        "name": "morning-mail",
        "job_type": "email.send",
        "cron_expression": "0 8 * * mon-fri",
        "timezone": "Europe/Berlin",
        "payload": {"to": "a@b.c"},
        "queue": "mail",
        "timeout": "30s",
        "catch_up": "once",
        "overlap": "skip",
    },
}
CHANGES = {"time": {"cron_expression": "30 7 * * mon-fri", "timezone": "Europe/Berlin"}, "pause": {"is_active": False}}

ScheduleChange = msgspec.defstruct(
    "ScheduleChange",
    [(name, hint | UnsetType, UNSET) for name, hint in get_type_hints(ScheduleRequest, include_extras=True).items()],
    namespace={"__doc__": "The members to change; each that is given replaces the former one as a whole."},
    kw_only=True,
    forbid_unknown_fields=True,
)


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The name that a page ended with, and the filter it belongs to."""

    is_active: bool | None
    after: str


class _Door:
    """What every route has: the store, and what its requests may hold."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._store = Store(ledger)

    def _read(self, req: falcon.Request, **how: Any) -> tuple[dict[str, Any], bytes | None]:
        """Return the members of the body, and the payload as it was sent."""
        body = bodies.read(req, self._ledger.settings.job_max_payload + bodies.SLACK, **how)
        Parameters(req).end()
        return (strict_json.decode(body), strict_json.payload_bytes(body)) if body else ({}, None)


class Schedules(_Door):
    """`/schedules`."""

    @operation(
        "createSchedule",
        "Make a schedule.",
        tag="schedules",
        description="It counts from the scheduler's next look on; nothing needs a restart.",
        body=Body(ScheduleRequest, examples=EXAMPLES),
        answers={201: Answer(schemas.Schedule, "The schedule.", (headers.LOCATION, headers.ETAG))},
        problems=("schedule_exists",),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        members, payload = self._read(req)
        made = self._store.create(members, payload, from_json=True, actor=actor(req))
        resp.status = falcon.HTTP_201
        resp.set_header("Location", f"/api/v1/schedules/{made.id}")
        _send(resp, made)

    @operation(
        "listSchedules",
        "List the schedules by name.",
        tag="schedules",
        parameters=(Parameter("is_active", bool, "Only those that are, or are not, paused."), *queries.PAGE),
        answers={200: Answer(list[schemas.Schedule], "A page of schedules.", headers.PAGE)},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        query = Parameters(req)
        is_active = {"true": True, "false": False, "": None}[query.word("is_active", ("true", "false"), "")]
        limit, cursor = query.limit(), query.cursor()
        query.end()
        found = self._store.list(is_active=is_active, after=_after(cursor, is_active), limit=limit + 1)
        page = found[:limit]
        next_cursor = sealed(_Cursor(is_active, page[-1].name)) if len(found) > limit else None
        send_page(req, resp, map(schedule_resource, page), next_cursor)


class Schedule(_Door):
    """`/schedules/{id}`."""

    @operation(
        "getSchedule",
        "Read a schedule.",
        tag="schedules",
        parameters=(headers.IF_NONE_MATCH,),
        answers={200: Answer(schemas.Schedule, "The schedule.", (headers.ETAG,))},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, id_: str) -> None:
        Parameters(req).end()
        is_known = known_versions(req)
        found = self._store.get(id_)
        send_version(resp, found.version, is_known, lambda: schedule_resource(found))

    @operation(
        "updateSchedule",
        "Change a schedule.",
        tag="schedules",
        description="With another expression or zone, or resumed, it counts from now on. "
        "What an application defines in code is changed there.",
        parameters=(headers.IF_MATCH,),
        body=Body(ScheduleChange, is_optional=True, examples=CHANGES, media_types=(bodies.JSON, MERGE_PATCH)),
        answers={200: Answer(schemas.Schedule, "The schedule.", (headers.ETAG,))},
        problems=("schedule_exists", "state_conflict"),
    )
    def on_patch(self, req: falcon.Request, resp: falcon.Response, id_: str) -> None:
        members, payload = self._read(req, optional=True, media_types=(bodies.JSON, MERGE_PATCH))
        versions = demanded_versions(req)
        # Before we look which schedule it is: what is wrong in itself is 422, whether there is one or not.
        check_changes(members, payload, self._ledger.settings, from_json=True)
        demanded = _demanded(self._store, id_, versions)
        changed = self._store.update(id_, members, payload, from_json=True, actor=actor(req), if_version=demanded)
        _send(resp, changed)

    @operation(
        "deleteSchedule",
        "Take a schedule away; its jobs stay.",
        tag="schedules",
        description="One that an application defines in code comes back when a worker of it starts; pause it instead.",
        parameters=(queries.REASON, headers.IF_MATCH),
        answers={200: Answer(schemas.DeletedSchedule, "The schedule as it was.", (headers.ETAG,))},
    )
    def on_delete(self, req: falcon.Request, resp: falcon.Response, id_: str) -> None:
        verb = bodies.read_wordless_verb(req)
        version = _demanded(self._store, id_, verb.versions)
        _send(resp, self._store.delete(id_, verb.reason, actor=actor(req), if_version=version), status="deleted")


class _Switch(_Door):
    """`/schedules/{id}/pause` and `/resume`."""

    def _turn(self, req: falcon.Request, resp: falcon.Response, id_: str, turn: Callable[..., Kept]) -> None:
        verb = bodies.read_verb(req)
        version = _demanded(self._store, id_, verb.versions)
        _send(resp, turn(id_, verb.reason, actor=actor(req), if_version=version))


class Pause(_Switch):
    """`/schedules/{id}/pause`."""

    @operation(
        "pauseSchedule",
        "Let a schedule tick no more.",
        tag="schedules",
        description="Twice is as good as once.",
        parameters=(headers.IF_MATCH,),
        body=Body(bodies.Reason, is_optional=True),
        answers={200: Answer(schemas.Schedule, "The schedule, paused.", (headers.ETAG,))},
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, id_: str) -> None:
        self._turn(req, resp, id_, self._store.pause)


class Resume(_Switch):
    """`/schedules/{id}/resume`."""

    @operation(
        "resumeSchedule",
        "Let a schedule tick again, from now on.",
        tag="schedules",
        description="What it missed while it was paused is not caught up.",
        parameters=(headers.IF_MATCH,),
        body=Body(bodies.Reason, is_optional=True),
        answers={200: Answer(schemas.Schedule, "The schedule.", (headers.ETAG,))},
        problems=("state_conflict",),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, id_: str) -> None:
        self._turn(req, resp, id_, self._store.resume)


class RunNow(_Door):
    """`/schedules/{id}/run-now`."""

    @operation(
        "runScheduleNow",
        "Make a job of a schedule at once.",
        tag="schedules",
        description="Also while it is paused; the next tick stays as it is.",
        parameters=(headers.IF_MATCH, headers.TRACEPARENT),
        body=Body(bodies.Reason, is_optional=True),
        answers={201: Answer(schemas.Job, "The job.", (headers.LOCATION, headers.ETAG))},
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, id_: str) -> None:
        verb = bodies.read_verb(req)
        version = _demanded(self._store, id_, verb.versions)
        job: JobState = self._store.run_now(
            id_, verb.reason, actor=actor(req), if_version=version, traceparent=traceparent(req)
        )
        send_made(resp, job)


class Next(_Door):
    """`/schedules/{id}/next`."""

    @operation(
        "listTicks",
        "Say when a schedule is due next.",
        tag="schedules",
        description="Of a paused one: when it would be.",
        parameters=(Parameter("count", Annotated[int, Meta(ge=1, le=MOST_TICKS)], "How many.", default=TICKS),),
        answers={200: Answer(list[schemas.Tick], "The ticks to come, the next one first.")},
        problems=("state_conflict",),
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, id_: str) -> None:
        query = Parameters(req)
        count = query.integer("count", 1, MOST_TICKS, TICKS)
        query.end()
        found = self._store.get(id_)
        ticks = found.ticks_after(self._ledger.now(), count)
        resp.data = dumps([tick_resource(tick, found.zone) for tick in ticks])


def _send(resp: falcon.Response, schedule: Kept, **members: str) -> None:
    set_version(resp, schedule.version)
    resp.data = dumps(schedule_resource(schedule) | members)


def _demanded(store: Store, key: str, versions: Versions | None) -> int | None:
    """Return the one version that the schedule may be changed at, None for any; refuse where it is at another one."""
    if versions is None:
        return None
    version = store.get(key).version
    if version not in versions:
        raise precondition_failed(version, "schedule")
    return version


def _after(cursor: str | None, is_active: bool | None) -> str:
    """Return the name that the page before ended with."""
    if cursor is None:
        return ""
    found = unsealed(cursor, _Cursor)
    if found.is_active is not is_active or "\x00" in found.after:
        raise InvalidCursor
    return found.after
