"""Redis against the ready jobs, by ids: every ready job has a message on its own stream, and no message is made up.

Messages of jobs that are no longer ready are no difference: they go away as workers meet them. Both sides move while
they are looked at, so what seems wrong is looked at again after a pause, against the log as it is by then.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import orjson

from ledger import ids
from ledger.runtime.statements import statement
from ledger_projections.redis_streams import DispatchStreams

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ledger.runtime.database import Database

    Name = tuple[str, int]
    """(job id, version): what a message tells."""

PAUSE = 1.0
"""Seconds until the second look: dispatch takes milliseconds."""

_STILL_READY = statement("ledger_projections", "verify/select_still_ready")
_NEVER_READY = statement("ledger_projections", "verify/select_never_ready")


def check_streams(
    database: Database, redis_url: str, ready: Mapping[Name, str], streams: Iterable[str]
) -> tuple[int, list[tuple[str, str, str]]]:
    """Return how many jobs and messages were looked at, and each difference as (subject, expected, found)."""
    redis = DispatchStreams(redis_url)
    try:
        messages = _messages(redis, streams)
        absent = {name: stream for name, stream in ready.items() if name not in messages.get(stream, ())}
        made_up = _among(database, _NEVER_READY, {name for names in messages.values() for name in names} - ready.keys())
        checked = len(ready) + sum(map(len, messages.values()))
        if absent or made_up:
            threading.Event().wait(PAUSE)
            messages = _messages(redis, streams)
    finally:
        redis.close()
    return checked, [*_absent(database, absent, messages), *_made_up(made_up, messages)]


def _absent(
    database: Database, absent: Mapping[Name, str], messages: Mapping[str, set[Name]]
) -> Iterable[tuple[str, str, str]]:
    again = {name for name, stream in absent.items() if name not in messages.get(stream, ())}
    for job_id, version in sorted(_among(database, _STILL_READY, again)):
        yield f"{job_id}:{version}", f"a message on {absent[job_id, version]}", "no message"


def _made_up(made_up: set[Name], messages: Mapping[str, set[Name]]) -> Iterable[tuple[str, str, str]]:
    for stream, names in sorted(messages.items()):
        for job_id, version in sorted(names & made_up):
            yield f"{job_id}:{version}", "no message: it was never ready at that version", f"a message on {stream}"


def _messages(redis: DispatchStreams, streams: Iterable[str]) -> dict[str, set[Name]]:
    return {stream: {name for raw in redis.names(stream) if (name := _name(raw))} for stream in streams}


def _name(raw: bytes) -> Name | None:
    job_id, _, version = raw.decode(errors="replace").partition(":")
    return (job_id, int(version)) if ids.parse(job_id) and version.isdecimal() else None


def _among(database: Database, sql: bytes, names: Iterable[Name]) -> set[Name]:
    """Return those of the names that the statement selects."""
    wanted = [{"job_id": job_id, "version": version} for job_id, version in names]
    if not wanted:
        return set()
    with database.connection() as connection:
        rows = connection.execute(sql, {"wanted": orjson.dumps(wanted).decode()}).fetchall()
    return {(str(job_id), version) for job_id, version in rows}
