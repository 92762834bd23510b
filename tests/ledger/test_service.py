"""The loop that turns every service."""

from __future__ import annotations

import threading
from datetime import timedelta

from ledger.runtime.service import Loop

HOUR = timedelta(hours=1)


class Idle:
    name = "idle"

    def run_once(self) -> bool:
        return False


def test_a_loop_that_is_halted_while_it_looks_whether_it_is_does_not_wait_once_more() -> None:
    class Stop(threading.Event):
        def is_set(self) -> bool:
            found = super().is_set()
            if not found:
                loop.halt()
            return found

    loop = Loop(Idle(), Stop(), shortest=HOUR, longest=HOUR)
    thread = loop.start()
    thread.join(30)
    assert not thread.is_alive()


class Counted(Idle):
    def __init__(self) -> None:
        self.turns = 0
        self.turned = threading.Event()

    def run_once(self) -> bool:
        self.turns += 1
        self.turned.set()
        return False

    def await_turn(self) -> None:
        assert self.turned.wait(30)
        self.turned.clear()


def test_a_loop_that_is_roused_goes_on_to_wait_as_it_did_and_one_that_is_woken_looks_often() -> None:
    service, stop = Counted(), threading.Event()
    loop = Loop(service, stop, shortest=timedelta(milliseconds=1), longest=HOUR, until_next=lambda: 0.0)
    thread = loop.start()
    while loop._pause < 3600:
        service.await_turn()
    loop._until_next = lambda: 3600.0
    for _ in range(3):
        service.turned.clear()
        loop.rouse()
        service.await_turn()
        assert loop._pause == 3600
    loop.wake()
    service.await_turn()
    assert loop._pause < 3600
    loop.halt()
    thread.join(30)
    assert not thread.is_alive()
