"""What becomes of the ticks of a schedule that have come: which make a job, which are dropped and why. Pure.

Ticks are *overdue* from their time on. When several are overdue at once, nobody was there for all but the newest: those
are missed. The newest is missed if it is older than a grace, which a busy or restarting scheduler may take. Of what is
missed, `catch_up` says what still runs, and nothing does that is older than the window:

* skip: nothing. The newest runs if it is not missed.
* once: the newest overdue tick runs, missed or not, in place of all.
* all: each runs, in order, the last `MOST_CAUGHT_UP` of them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from ledger import cron
from ledger.schedule import RunStatus

if TYPE_CHECKING:
    from ledger.schedule import Schedule

MOST_CAUGHT_UP = 1000
_MOST_COUNTED = 100
"""How many overdue ticks are gone through one by one where only the newest may run: after a long absence, thousands of
schedules have to be decided at once."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a scheduler has decided about a schedule's overdue ticks."""

    decided_at: datetime
    run: tuple[datetime, ...]
    """Those that make a job, in order."""
    missed: int
    """How many were dropped because their time had passed, as far as they were counted."""
    overlapped: int
    """How many were dropped because an earlier job has not ended."""
    last_run_at: datetime
    status: RunStatus
    next_run_at: datetime
    goes_on: bool
    """There are overdue ticks left, for the next turn."""


def decide(schedule: Schedule, now: datetime, grace: timedelta, *, unended: bool, most: int) -> Decision:
    """Decide about the overdue ticks, at most so many that run; `unended` says whether an earlier job has not ended.

    Raises ValueError for a schedule that this machine cannot read.
    """
    overdue, following = _overdue(schedule, now)
    wanted = _wanted(schedule, overdue, now, grace)
    missed = len(overdue) - len(wanted)
    goes_on = len(wanted) > most
    if goes_on:
        following, wanted = wanted[most], wanted[:most]
    run = wanted
    if schedule.overlap == "skip":
        run = [] if unended else wanted[:1]
    last = wanted[-1] if wanted else overdue[-1]
    return Decision(
        decided_at=now,
        run=tuple(run),
        missed=missed,
        overlapped=len(wanted) - len(run),
        last_run_at=last,
        status="skipped_missed" if not wanted else "enqueued" if last in run else "skipped_overlap",
        next_run_at=following,
        goes_on=goes_on,
    )


def _overdue(schedule: Schedule, now: datetime) -> tuple[list[datetime], datetime]:
    """Return the overdue ticks, of very many the last, and the first tick to come."""
    assert schedule.next_run_at is not None
    most, last = (MOST_CAUGHT_UP, MOST_CAUGHT_UP) if schedule.catch_up == "all" else (_MOST_COUNTED, 1)
    expression, zone, anchor = cron.parse(schedule.cron_expression), schedule.zone, schedule.created_at
    overdue = [schedule.next_run_at]
    for tick in cron.ticks_after(expression, schedule.next_run_at, zone, anchor):
        if tick > now:
            return overdue, tick
        if len(overdue) == most:
            break
        overdue.append(tick)
    newest = cron.last_ticks(expression, schedule.next_run_at, now, zone, anchor, last)
    return [*overdue[: most - last], *newest], expression.after(now, zone, anchor)


def _wanted(schedule: Schedule, overdue: list[datetime], now: datetime, grace: timedelta) -> list[datetime]:
    """Return the overdue ticks that are to run if overlap lets them."""
    *missed, newest = overdue
    oldest = now - timedelta(seconds=schedule.catch_up_window_seconds)
    is_on_time = now - newest <= grace
    match schedule.catch_up:
        case "skip":
            return [newest] if is_on_time else []
        case "once":
            return [newest] if is_on_time or newest >= oldest else []
        case "all":
            return [tick for tick in missed if tick >= oldest] + ([newest] if is_on_time or newest >= oldest else [])
