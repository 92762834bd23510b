"""A signal ends a service whatever its main thread is doing at that moment."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from ledger_projections.cli_doors import stopped_by_signals

if TYPE_CHECKING:
    import threading


def test_a_signal_that_comes_in_the_middle_of_waiting_for_it_holds_up_nobody() -> None:
    with stopped_by_signals() as stop:
        lock: threading.Condition = vars(stop)["_cond"]
        with lock:  # as in the first steps of `stop.wait()`
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(60)
