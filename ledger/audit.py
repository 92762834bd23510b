"""The audit: what operators did to anything that is not a job. Of jobs, their own histories say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ledger.runtime.statements import Executes

_APPEND = statement("ledger", "append_audit")


def record(
    connection: Executes,
    *,
    actor: str,
    action: str,
    subject: str,
    reason: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Put a change on record, in the transaction that makes it: `action` such as `schedule.paused`, and the resource
    before and after, without one where it was not there.
    """
    said = {"actor": actor, "action": action, "subject": subject, "reason": reason}
    connection.execute(_APPEND, {**said, "before": _json(before), "after": _json(after)})


def _json(resource: Mapping[str, Any] | None) -> str | None:
    return None if resource is None else orjson.dumps(resource).decode()
