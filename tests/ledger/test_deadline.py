"""Limits that pass: what one server does not answer is no reason for the others to wait."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from datetime import timedelta

from ledger.runtime import deadline


class Deaf:
    """A connection whose server takes its time to cancel."""

    def __init__(self, answers: threading.Event) -> None:
        self.asked = threading.Event()
        self._answers = answers

    def cancel_safe(self, timeout: float) -> None:
        self.asked.set()
        self._answers.wait(timeout * 30)


def test_all_whose_time_is_over_are_cancelled_at_once() -> None:
    answers = threading.Event()
    connections = [Deaf(answers) for _ in range(4)]
    with ExitStack() as stack:
        deadline.start(timedelta(milliseconds=50))
        stack.callback(deadline.clear)
        for connection in connections:
            stack.enter_context(deadline.watch(connection))  # pyright: ignore[reportArgumentType]
        stack.callback(answers.set)  # before those wait for it
        assert all(connection.asked.wait(20) for connection in connections)
        assert not answers.is_set()
