"""Group commit: who writes with whom, and that nobody's trouble becomes another's."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from ledger.appender import Appender
from ledger.errors import Unavailable
from ledger.ids import mint
from ledger.log import Recorded
from tests.support.histories import NOON, first

if TYPE_CHECKING:
    from ledger.log import Append


class Writer:
    """Stands at a gate in its first write, so that everyone else gathers behind it."""

    def __init__(self) -> None:
        self.groups: list[list[Append]] = []
        self.refuse: dict[object, Exception] = {}
        self.gate = threading.Event()
        self.inside = threading.Event()

    def write(self, appends):
        self.groups.append(list(appends))
        if len(self.groups) == 1:
            self.inside.set()
            assert self.gate.wait(30)
        for append in appends:
            if append.job_id in self.refuse:
                raise self.refuse[append.job_id]
        return [Recorded(append.job_id, 1, 1, NOON) for append in appends]


@pytest.fixture
def writer():
    return Writer()


def run(writer: Writer, calls: list[list[Append]]):
    """Have the first call written while the others come, and return what each was answered."""
    appender = Appender(writer.write)

    def call(appends):
        try:
            return appender.append(appends)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as threads:
        answers = [threads.submit(call, calls[0])]
        assert writer.inside.wait(30)
        answers += [threads.submit(call, each) for each in calls[1:]]
        while len(appender._waiting) < len(calls) - 1:
            threading.Event().wait(0.001)
        writer.gate.set()
        return [answer.result(30) for answer in answers]


def test_those_who_come_during_a_write_are_written_together(writer):
    calls = [[first(mint())] for _ in range(5)] + [[first(mint()), first(mint())]]
    answers = run(writer, calls)
    assert [len(each) for each in writer.groups] == [1, 6]
    told = [[outcome.job_id for outcome in answer] for answer in answers]
    assert told == [[append.job_id for append in call] for call in calls]


def test_a_job_occurs_once_in_a_group(writer):
    job_id = mint()
    run(writer, [[first(mint())], [first(job_id)], [first(job_id)]])
    assert [len(each) for each in writer.groups] == [1, 1, 1]


def test_what_cannot_be_written_harms_nobody_else(writer):
    bad, good = [first(mint())], [first(mint())]
    writer.refuse[bad[0].job_id] = ValueError("no")
    _, told_bad, told_good = run(writer, [[first(mint())], bad, good])
    assert isinstance(told_bad, ValueError)
    assert told_good == [Recorded(good[0].job_id, 1, 1, NOON)]


def test_when_nobody_knows_what_was_written_everyone_is_told(writer):
    one, two = [first(mint())], [first(mint())]
    writer.refuse[one[0].job_id] = Unavailable("gone")
    answers = run(writer, [[first(mint())], one, two])
    assert [type(answer) for answer in answers] == [list, Unavailable, Unavailable]


def test_a_failed_write_leaves_the_door_open(writer):
    writer.gate.set()
    bad = [first(mint())]
    writer.refuse[bad[0].job_id] = ValueError("no")
    appender = Appender(writer.write)
    with pytest.raises(ValueError, match="no"):
        appender.append(bad)
    assert len(appender.append([first(mint())])) == 1
