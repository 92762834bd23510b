"""The ids of dead letters: a job's own id, or `<job id>:<version>`, which names one death of it.

After another death the old name finds a conflict and nothing else: who retries or discards what they have looked at
must not hit what they have not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ledger import ids
from ledger.errors import CommandRefused
from ledger.events import Kind
from ledger.job import State

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from ledger.events import Entry
    from ledger.job import JobState

_VERSION = re.compile(r"[1-9]\d{0,8}", re.ASCII)


class Death(NamedTuple):
    """What the id of a dead letter names."""

    job_id: UUID
    version: int | None
    """Of the death; None for whichever is the last."""


def named(id_: str) -> Death | None:
    """Return what the id names, None for what cannot be one."""
    text, colon, version = id_.partition(":")
    job_id = ids.parse(text)
    if job_id is None or (colon and not _VERSION.fullmatch(version)):
        return None
    return Death(job_id, int(version) if colon else None)


def happened(death: Death, history: Iterable[Entry]) -> bool:
    """Say whether the job has ever been dead, and of this death."""
    versions = [entry.version for entry in history if entry.kind is Kind.DEAD_LETTERED]
    return bool(versions) if death.version is None else death.version in versions


def check_last(death: Death, job: JobState, verb: str) -> None:
    """Refuse where the job is dead of another death, or was discarded after another one."""
    last = {State.DEAD: job.version, State.DISCARDED: job.version - 1}.get(job.state)
    if last is not None and death.version not in (None, last):
        allowed = "this id names an earlier death of the job; take the present one from the dead-letter queue"
        raise CommandRefused(job.id, verb, job.state, job.version, allowed)
