"""Requests to make or to change a schedule, checked: the same rules for HTTP, Python, the command line and MCP.

A change is the whole definition with some members replaced, and is checked as a whole; so nothing can be changed into
what could not have been made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledger import cron, fields
from ledger.errors import Breach, InvalidRequest
from ledger.events import Priority
from ledger.requests import from_python, run_limit, unkeepable_metadata
from ledger.schedule import CatchUp, Definition, Overlap
from ledger.shapes import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ledger.requests import Breaches
    from ledger.settings import Settings

LONGEST_WINDOW = 30 * 86400.0

Name = Annotated[
    str,
    Meta(
        pattern=rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,99}}{fields.END}",
        description="Unique; not a UUID, so that a schedule can be named by either.",
        examples=["nightly-report"],
        extra={"must": "must be 1 to 100 of letters, digits, '.', '_', '-'"},
    ),
]
CronExpression = Annotated[
    str,
    Meta(
        max_length=cron.LONGEST_EXPRESSION,
        description="5 fields, or 6 with seconds first; or @daily and its like, or @every <duration>.",
        examples=["*/5 * * * *", "@every 90s"],
        extra={"must": f"must be a cron expression of at most {cron.LONGEST_EXPRESSION} characters"},
    ),
]
TimeZone = Annotated[
    str,
    Meta(
        description="The IANA time zone that the expression is read in.",
        examples=["Europe/Berlin"],
        extra={"must": "must be the name of a time zone, such as UTC or Europe/Berlin"},
    ),
]
CatchUpWindow = Annotated[
    float,
    Meta(
        ge=0,
        le=LONGEST_WINDOW,
        description="How old a missed tick may be to be caught up.",
        extra={"must": f"must be a number of seconds from 0 to {LONGEST_WINDOW:.0f}"},
    ),
]


class ScheduleRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to make a schedule; name, job type and expression are required."""

    name: Name
    job_type: fields.JobType
    cron_expression: CronExpression
    timezone: TimeZone = "UTC"
    payload: fields.Payload | UnsetType = UNSET
    queue: fields.QueueName = "default"
    priority: fields.PriorityWord = "medium"
    max_retries: fields.MaxRetries | UnsetType = UNSET
    timeout: fields.Timeout | UnsetType = UNSET
    timeout_seconds: fields.TimeoutSeconds | UnsetType = UNSET
    metadata: fields.Metadata = {}
    is_active: bool = True
    catch_up: Annotated[CatchUp, Meta(description="Which of the ticks that were missed still run.")] = "once"
    catch_up_window_seconds: CatchUpWindow = 86400.0
    overlap: Annotated[Overlap, Meta(description="What a tick does while an earlier job has not ended.")] = "allow"


MEMBERS = frozenset(ScheduleRequest.__struct_encode_fields__)
"""The fields of a request to make a schedule."""


def new_definition(
    members: Mapping[str, Any], payload: bytes | None, settings: Settings, *, from_json: bool = False
) -> Definition:
    """Check a request to make a schedule; raise InvalidRequest with every breach.

    `members` are JSON values, or without `from_json` a Python caller's; `payload` is the JSON as sent, None for `{}`.
    """
    asked, breaches = read(ScheduleRequest, members if from_json else from_python(members))
    if not from_json:
        breaches += unkeepable_metadata(asked.metadata)
    breaches += _beyond_types(asked)
    payload = b"{}" if payload is None else payload
    if len(payload) > settings.job_max_payload:
        detail = f"has {len(payload)} bytes; at most {settings.job_max_payload} are allowed"
        breaches.append(Breach("/payload", detail, too_large=True))
    definition = Definition(
        name=asked.name,
        job_type=asked.job_type,
        payload=payload,
        cron_expression=asked.cron_expression,
        timezone=asked.timezone,
        queue=asked.queue,
        priority=Priority.from_word(asked.priority),
        max_retries=settings.job_default_max_retries if asked.max_retries is UNSET else asked.max_retries,
        timeout_seconds=run_limit(asked, settings.job_default_timeout, breaches).total_seconds(),
        metadata=asked.metadata,
        is_active=asked.is_active,
        catch_up=asked.catch_up,
        catch_up_window_seconds=asked.catch_up_window_seconds,
        overlap=asked.overlap,
    )
    if breaches:
        raise InvalidRequest(breaches)
    return definition


def changed_definition(
    definition: Definition,
    members: Mapping[str, Any],
    payload: bytes | None,
    settings: Settings,
    *,
    from_json: bool = False,
) -> Definition:
    """Check a request to change a schedule that is defined like this; raise InvalidRequest with every breach."""
    kept = _members(definition)
    if "timeout" in members:
        del kept["timeout_seconds"]
    payload = definition.payload if payload is None else payload
    changed = new_definition(kept | dict(members), payload, settings, from_json=from_json)
    same_type = changed.job_type == definition.job_type
    return msgspec.structs.replace(
        changed, retry=definition.retry, payload_version=definition.payload_version if same_type else 1
    )


def check_changes(
    members: Mapping[str, Any], payload: bytes | None, settings: Settings, *, from_json: bool = False
) -> None:
    """Check a request to change a schedule before it is known which; raise InvalidRequest with every breach."""
    changed_definition(_ANY, members, payload, settings, from_json=from_json)


def _beyond_types(asked: ScheduleRequest) -> Breaches:
    """Find what no type can say."""
    breaches: Breaches = []
    for pointer, check, text in (
        ("/name", _refuse_uuid, asked.name),
        ("/cron_expression", cron.parse, asked.cron_expression),
        ("/timezone", cron.zone_named, asked.timezone),
    ):
        try:
            if text is not UNSET:
                check(text)
        except ValueError as error:
            breaches.append(Breach(pointer, str(error)))
    return breaches


def _refuse_uuid(name: str) -> None:
    try:
        UUID(name)
    except ValueError:
        return
    raise ValueError("must not be a UUID")


def _members(definition: Definition) -> dict[str, Any]:
    members = {name: getattr(definition, name) for name in MEMBERS - {"payload", "timeout"}}
    return members | {"priority": definition.priority.word}


_ANY = Definition(name="any", job_type="any", cron_expression="@daily", max_retries=0, timeout_seconds=1.0)
