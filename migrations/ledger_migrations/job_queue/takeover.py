"""The import itself: batch by batch, each in one transaction with the keys that keep it from being done twice.

A dead job gets the history it would have had here, in the same transaction: ready, run, failed, dead. So it is found
among the dead letters with its error, and can be retried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ledger import bulk
from ledger.connections import joined
from ledger.errors import LedgerError, ScheduleExists, ScheduleNotFound, Unavailable
from ledger.events import DeadLettered, Event, Failed, Leased
from ledger.log import following
from ledger.opening import KEY_WAIT, opening, taken
from ledger.postgres import append_on
from ledger.runtime.statements import statement
from ledger.schedule_requests import new_definition
from ledger.schedules import Schedules
from ledger_migrations.job_queue import translation
from ledger_migrations.job_queue.translation import IMPORTED_ID, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ledger import Ledger
    from ledger.job import JobState
    from ledger.requests import Submission
    from ledger.runtime.statements import Executes
    from ledger_migrations.job_queue.source import Row, Source
    from ledger_migrations.job_queue.translation import Wish

    Tell = Callable[[str], None]
    Translate = Callable[[Any], Wish | None]

WORKER = "job-queue"
"""Who ran what died before the import."""

_KNOWN = statement("ledger_migrations", "job_queue/select_keys")
_KEEP = statement("ledger_migrations", "job_queue/keep_keys")


class Tally(msgspec.Struct):
    found: int = 0
    imported: int = 0
    already_there: int = 0
    ended: int = 0
    refused: int = 0


class Refusal(msgspec.Struct, frozen=True):
    kind: str
    id: str
    detail: str


class Report(msgspec.Struct):
    """What was done, or in a dry run would be."""

    dry_run: bool
    jobs: Tally = msgspec.field(default_factory=Tally)
    dead_letters: Tally = msgspec.field(default_factory=Tally)
    schedules: Tally = msgspec.field(default_factory=Tally)
    refused: list[Refusal] = msgspec.field(default_factory=list[Refusal])


class Takeover:
    """Takes over everything of a source into a ledger; `tell` hears how far it is."""

    def __init__(self, ledger: Ledger, actor: str, tell: Tell, *, dry_run: bool) -> None:
        self._ledger, self._actor, self._tell = ledger, actor, tell
        self._seen: set[str] = set()
        self.report = Report(dry_run)

    def run(self, source: Source) -> Report:
        # The table knows more of a dead job than Redis does, so it goes first.
        report = self.report
        self._take("dead letter", report.dead_letters, source.dead_letters(), translation.dead_letter)
        self._take("job", report.jobs, source.jobs(), translation.job)
        for rows in source.schedules():
            for row in rows:
                self._take_schedule(row)
        if not report.dry_run:
            self._ledger.waker.wake()
        return report

    def _take(self, kind: str, tally: Tally, batches: Iterable[Sequence[Any]], translate: Translate) -> None:
        for batch in batches:
            tally.found += len(batch)
            wanted = [found for old in batch if (found := self._checked(kind, tally, old, translate)) is not None]
            self._make(tally, wanted)
            self._tell(f"{kind}s: {tally.found:,} read, {tally.imported:,} taken")

    def _checked(self, kind: str, tally: Tally, old: Any, translate: Translate) -> tuple[Wish, Submission] | None:
        try:
            wish = translate(old)
            if wish is None:
                tally.ended += 1
            elif wish.old_id in self._seen:
                tally.already_there += 1
            else:
                checked = wish, self._ledger.checked(wish.members, wish.payload)
                self._seen.add(wish.old_id)
                return checked
        except Unavailable:
            raise
        except (LedgerError, msgspec.MsgspecError, ValueError, OverflowError) as error:
            self._refuse(kind, tally, old["job_id"] if isinstance(old, dict) else old.key, str(error))
        return None

    def _make(self, tally: Tally, wanted: Sequence[tuple[Wish, Submission]]) -> None:
        keys = [key_of(wish.old_id) for wish, _ in wanted]
        with joined(self._ledger.database, None, KEY_WAIT) as connection:
            known = {key for (key,) in connection.execute(_KNOWN, {"keys": keys}).fetchall()}
            fresh = [each for each in wanted if key_of(each[0].old_id) not in known]
            if fresh and not self.report.dry_run:
                self._put(connection, fresh)
                connection.execute(_KEEP, {"keys": keys})
        tally.already_there += len(known)
        tally.imported += len(fresh)

    def _put(self, connection: Executes, fresh: Sequence[tuple[Wish, Submission]]) -> None:
        submissions = [submission for _, submission in fresh]
        now = self._ledger.now()
        appends = [opening(submission, self._actor, now) for submission in submissions]
        made = bulk.make_all(connection, submissions, appends, self._ledger.settings.job_idempotency_ttl)
        deaths = [
            following(each.job, _death(each.job, wish.failure), f"worker:{WORKER}")
            for (wish, _), each in zip(fresh, made, strict=True)
            if wish.failure is not None and each.job is not None
        ]
        taken(append_on(connection, deaths))

    def _take_schedule(self, row: Row) -> None:
        tally = self.report.schedules
        tally.found += 1
        try:
            if self._has_schedule(row):
                tally.already_there += 1
                return
            members, payload = translation.schedule(row)
            new_definition(members, payload, self._ledger.settings, from_json=True)
            if not self.report.dry_run:
                Schedules(self._ledger).create(members, payload, from_json=True, actor=self._actor)
        except Unavailable:
            raise
        except (LedgerError, ValueError) as error:
            self._refuse("schedule", tally, row["name"], str(error))
        else:
            tally.imported += 1

    def _has_schedule(self, row: Row) -> bool:
        """Say whether an earlier import has made it; raise ScheduleExists where its name is somebody else's."""
        try:
            found = Schedules(self._ledger).get(row["name"])
        except ScheduleNotFound:
            return False
        if found.metadata.get(IMPORTED_ID) != row["id"]:
            raise ScheduleExists(found.name)
        return True

    def _refuse(self, kind: str, tally: Tally, old_id: str, detail: str) -> None:
        tally.refused += 1
        self.report.refused.append(Refusal(kind, old_id, detail))


def _death(job: JobState, failure: Failed) -> tuple[Event, ...]:
    return (
        Leased(worker_id=WORKER, attempt=1, nonce=job.id.hex, ready_at=job.ready_at),
        failure,
        DeadLettered(reason="retries_exhausted", retry_count=0, crash_count=0, detail="died before the import"),
    )
