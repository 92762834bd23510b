"""The clock that stands still."""

from __future__ import annotations

import doctest
from datetime import timedelta
from importlib import import_module
from uuid import UUID

import pytest

from ledger import testing
from tests.support.kit_jobs import NOON


def test_it_stands_until_it_is_moved():
    clock = testing.FrozenClock(NOON)
    assert clock.now() == clock.now()
    assert clock.advance(90) - testing.FrozenClock(NOON).now() == timedelta(seconds=90)
    assert clock.move_to(NOON) == testing.FrozenClock(NOON).now()


@pytest.mark.parametrize("by", ["1d", -1, "soon"])
def test_nonsense_is_refused(by):
    with pytest.raises(ValueError):
        testing.FrozenClock(NOON).advance(by)


def test_the_rules_see_it(app, send):
    with testing.manual(app, clock=testing.FrozenClock(NOON)) as kit:
        job_id = send.enqueue(to="a")
        kit.clock.move_to("2026-03-01T13:00:00Z")
        job = app.cancel(job_id)
        assert (job.created_at.hour, job.completed_at.hour, app.now()) == (12, 13, kit.clock.now())


@pytest.mark.parametrize("module", ["ledger.testing", "ledger.testing.clock"])
def test_the_examples_run(module):
    results = doctest.testmod(import_module(module), raise_on_error=True)
    assert results.attempted > 0


def test_ids_are_ids(app):
    with testing.manual(app):
        assert isinstance(app.enqueue("a"), UUID)
