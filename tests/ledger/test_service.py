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
