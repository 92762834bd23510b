"""What only the log in memory offers: a clock of one's own, and the whole log at once."""

from __future__ import annotations

from datetime import timedelta

from ledger.events import Cancelled
from ledger.ids import mint
from ledger.log import Append
from ledger.memory import MemoryLog
from tests.support.histories import ENQUEUED, NOON, FrozenClock, first, following


def test_events_happen_when_the_clock_says():
    clock = FrozenClock()
    log, job_id = MemoryLog(clock), mint()
    log.append([first(job_id)])
    clock.advance(timedelta(hours=1))
    log.append([following(log.history(job_id), Cancelled(cause="requested"))])

    assert [entry.at for entry in log.history(job_id)] == [NOON, NOON + timedelta(hours=1)]


def test_the_whole_log_comes_in_the_order_of_positions():
    log, one, other = MemoryLog(FrozenClock()), mint(), mint()
    log.append([first(other), first(one)])
    log.append([following(log.history(other), Cancelled(cause="requested"))])

    places = [(entry.position, entry.job_id, entry.version) for entry in log.entries()]
    assert places == [(1, other, 1), (2, one, 1), (3, other, 2)]


def test_what_was_read_does_not_change_later():
    log, job_id = MemoryLog(FrozenClock()), mint()
    log.append([first(job_id)])
    entries, history = log.entries(), log.history(job_id)
    log.append([following(history, Cancelled(cause="requested"))])

    assert (len(entries), len(history)) == (1, 1)


def test_an_append_of_no_events_is_refused():
    append = first(mint(), ENQUEUED)
    empty = Append(job_id=append.job_id, events=(), queue="q", priority=append.priority, actor="test")
    log = MemoryLog(FrozenClock())

    [outcome] = log.append([empty])

    assert (outcome.version, log.history(append.job_id)) == (1, ())
