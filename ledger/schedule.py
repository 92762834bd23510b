"""A schedule: which job is made when. Its definition is what people write, the rest is what the ticks left behind."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import msgspec
import orjson

from ledger import cron
from ledger.codec import rfc3339
from ledger.errors import ScheduleZoneUnknown
from ledger.events import Priority, Request, RetryPolicy

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


CatchUp = Literal["skip", "once", "all"]
Overlap = Literal["allow", "skip", "cancel_previous"]
Origin = Literal["api", "code"]
RunStatus = Literal["enqueued", "skipped_overlap", "skipped_missed"]


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """What a schedule is to do, checked and complete."""

    name: str
    job_type: str
    payload: bytes = b"{}"
    payload_version: int = 1
    cron_expression: str
    timezone: str = "UTC"
    queue: str = "default"
    priority: Priority = Priority.MEDIUM
    max_retries: int
    timeout_seconds: float
    retry: RetryPolicy | None = None
    """None: as the scheduler's settings have it at each tick."""
    metadata: dict[str, str] = {}
    is_active: bool = True
    catch_up: CatchUp = "once"
    catch_up_window_seconds: float = 86400.0
    overlap: Overlap = "allow"


class Schedule(Definition, frozen=True, kw_only=True):
    """A schedule as it is kept."""

    id: UUID
    version: int
    """Rises with every change, a tick's too."""
    origin: Origin
    last_run_at: datetime | None = None
    """The tick that was decided last, or the time it was run by hand."""
    last_run_status: RunStatus | None = None
    last_job_id: UUID | None = None
    next_run_at: datetime | None = None
    """The first tick not decided yet; None while paused."""
    created_at: datetime
    updated_at: datetime

    @property
    def zone(self) -> ZoneInfo:
        """The schedule's zone; raises ScheduleZoneUnknown where this machine does not know it."""
        try:
            return cron.zone_named(self.timezone)
        except ValueError:
            raise ScheduleZoneUnknown(self.name, self.timezone, self.version) from None

    @property
    def definition(self) -> Definition:
        return Definition(**{name: getattr(self, name) for name in Definition.__struct_fields__})

    def request(self, settings_retry: RetryPolicy, tick_at: datetime | None = None) -> Request:
        """Return what a job of this schedule is asked to do; without a tick it was run by hand."""
        return Request(
            type=self.job_type,
            payload=self.payload,
            payload_version=self.payload_version,
            max_retries=self.max_retries,
            timeout_seconds=self.timeout_seconds,
            retry=self.retry or settings_retry,
            metadata=self.metadata,
            schedule_id=self.id,
            tick_at=tick_at,
        )

    def ticks_after(self, instant: datetime, count: int) -> list[datetime]:
        """Return the next ticks later than this instant, whether it is paused or not."""
        return cron.next_ticks(cron.parse(self.cron_expression), instant, self.zone, self.created_at, count)


def from_row(row: tuple[Any, ...]) -> Schedule:
    """Decode a row with the columns of `schedules/select`."""
    values = dict(zip(_COLUMNS, row, strict=True))
    values["payload"] = values["payload"].encode()
    values["priority"] = Priority(values["priority"])
    values["metadata"] = orjson.loads(values["metadata"])
    if values["retry"] is not None:
        values["retry"] = msgspec.json.decode(values["retry"], type=RetryPolicy)
    for name in ("last_run_at", "next_run_at", "created_at", "updated_at"):
        values[name] = values[name] and values[name].astimezone(UTC)
    return Schedule(**values)


def to_columns(schedule: Schedule) -> dict[str, Any]:
    """Return the parameters of the statements that write a schedule."""
    values = {name: getattr(schedule, name) for name in _COLUMNS}
    values["payload"] = schedule.payload.decode()
    values["priority"] = int(schedule.priority)
    values["metadata"] = orjson.dumps(schedule.metadata).decode()
    values["retry"] = schedule.retry and msgspec.json.encode(schedule.retry).decode()
    return values


def schedule_resource(schedule: Schedule) -> dict[str, Any]:
    """Return the resource Schedule."""
    return {
        "id": str(schedule.id),
        "name": schedule.name,
        "version": schedule.version,
        "job_type": schedule.job_type,
        "payload": orjson.Fragment(schedule.payload),
        "cron_expression": schedule.cron_expression,
        "timezone": schedule.timezone,
        "queue": schedule.queue,
        "priority": schedule.priority.word,
        "max_retries": schedule.max_retries,
        "timeout_seconds": schedule.timeout_seconds,
        "metadata": schedule.metadata,
        "is_active": schedule.is_active,
        "catch_up": schedule.catch_up,
        "catch_up_window_seconds": schedule.catch_up_window_seconds,
        "overlap": schedule.overlap,
        "origin": schedule.origin,
        "last_run_at": _time(schedule.last_run_at),
        "last_run_status": schedule.last_run_status,
        "last_job_id": None if schedule.last_job_id is None else str(schedule.last_job_id),
        "next_run_at": _time(schedule.next_run_at),
        "created_at": _time(schedule.created_at),
        "updated_at": _time(schedule.updated_at),
    }


def tick_resource(tick: datetime, zone: ZoneInfo) -> dict[str, Any]:
    """Return a tick to come: in UTC, and the same instant in the schedule's zone."""
    return {"at": rfc3339(tick), "local": tick.astimezone(zone).isoformat(timespec="microseconds")}


def _time(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)


_COLUMNS = (
    "id", "version", "origin", "name", "job_type", "payload", "payload_version", "cron_expression", "timezone", "queue",
    "priority", "max_retries", "timeout_seconds", "retry", "metadata", "is_active", "catch_up",
    "catch_up_window_seconds", "overlap", "last_run_at", "last_run_status", "last_job_id", "next_run_at", "created_at",
    "updated_at",
)  # fmt: skip
