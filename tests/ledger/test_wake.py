"""The wake-up call: heard by whoever listens, made by a thread that ends with its ledger."""

from __future__ import annotations

import os
import threading
import time

import pytest

from ledger import Ledger
from ledger.wake import Ear, Waker

NOBODY = "redis://127.0.0.1:1/0"


_others: set[threading.Thread] = set()
"""Threads of ledgers that tests before this one have left open."""


@pytest.fixture(autouse=True)
def _mind_the_others() -> None:
    _others.clear()
    _others.update(threading.enumerate())


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "wake" and thread not in _others]


@pytest.fixture
def heard(redis_url):
    """An event that is set when somebody wakes the dispatchers. Channels are common to all tests that run."""
    stop, heard = threading.Event(), threading.Event()
    ear = Ear(redis_url, stop, heard.set)
    waker = Waker(redis_url)
    while not heard.is_set():  # until it listens
        waker.wake()
        heard.wait(0.05)
    waker.close()
    yield heard
    stop.set()
    ear.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "ear" and thread not in _others]


def test_closing_publishes_what_was_asked_for_and_ends_the_thread(redis_url, heard):
    waker = Waker(redis_url)
    heard.clear()
    waker.wake()
    waker.close()
    assert heard.wait(10)
    assert threads() == []


def test_after_closing_it_begins_anew(redis_url, heard):
    waker = Waker(redis_url)
    for _ in range(2):
        heard.clear()
        waker.wake()
        assert heard.wait(10)
        waker.close()
    assert threads() == []


def test_many_wakes_need_one_thread_and_never_wait(redis_url):
    waker = Waker(redis_url)
    began = time.monotonic()
    for _ in range(10_000):
        waker.wake()
    assert time.monotonic() - began < 5
    assert len(threads()) == 1
    waker.close()


def test_closing_does_not_wait_for_a_redis_that_is_away():
    waker = Waker(NOBODY)
    waker.wake()
    began = time.monotonic()
    waker.close()
    waker.close()
    assert time.monotonic() - began < 5
    assert threads() == []


def test_closing_what_never_woke_anybody_starts_nothing():
    Waker(NOBODY).close()
    assert threads() == []


def test_a_forked_child_has_a_thread_of_its_own_and_leaves_its_parents_alone(redis_url):
    waker = Waker(redis_url)
    waker.wake()
    pid = os.fork()
    if not pid:
        waker.close()
        waker.wake()
        os._exit(0 if len(threads()) == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    waker.close()
    assert threads() == []


def test_closing_a_ledger_ends_its_threads(database, redis_url):
    before = set(threading.enumerate())
    ledger = Ledger(database_url=database, redis_url=redis_url)
    for _ in range(2):
        ledger.enqueue("a")
        assert threads()
        ledger.close()
        assert set(threading.enumerate()) <= before
