"""A running job that is cancelled: its handler is stopped within a second, its outcome refused, its slot free."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ledger_workers.metrics import Meters
from prometheus_client import CollectorRegistry

from ledger.events import Kind
from tests.support import worker_app
from tests.support.working import ended, kinds, send, until, working

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from uuid import UUID

    from ledger import Job, Ledger

CANCELLED = [Kind.ENQUEUED, Kind.LEASED, Kind.CANCELLED]


def seconds_until(ledger: Ledger, job_id: UUID, stopped: Callable[[], bool]) -> float:
    began = time.monotonic()
    ledger.cancel(job_id, reason="enough")
    assert stopped()
    return time.monotonic() - began


def test_d16_d58_a_thread_is_told_within_a_second(ledger: Ledger) -> None:
    began, told = threading.Event(), threading.Event()

    @ledger.job("long")
    def long(job: Job) -> str:
        began.set()
        if job.wait(60) and job.cancelled:
            told.set()
        return "too late"

    meters = Meters(CollectorRegistry())
    with working(ledger, concurrency=1, meters=meters):
        job_id = send(ledger, "long")
        assert began.wait(30)
        assert seconds_until(ledger, job_id, lambda: told.wait(30)) < 1
        ledger.job("next")(lambda: "free")
        assert ended(ledger, send(ledger, "next")).result == "free"
    assert kinds(ledger, job_id) == CANCELLED
    assert meters.refused.labels("default")._value.get() == 1


def test_d16_d58_an_async_handler_is_cancelled_within_a_second(ledger: Ledger) -> None:
    began, stopped = threading.Event(), threading.Event()

    @ledger.job("long")
    async def long() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            stopped.set()
            raise

    with working(ledger, concurrency=1):
        job_id = send(ledger, "long")
        assert began.wait(30)
        assert seconds_until(ledger, job_id, lambda: stopped.wait(30)) < 1
        ledger.job("next")(lambda: "free")
        assert ended(ledger, send(ledger, "next")).result == "free"
    assert kinds(ledger, job_id) == CANCELLED


def test_d16_d58_a_process_is_killed_within_a_second(ledger: Ledger, tmp_path: Path) -> None:
    for handler in worker_app.ledger.handlers.values():
        ledger.handlers.add(handler)
    note = tmp_path / "pid"
    with working(ledger, concurrency=1):
        job_id = send(ledger, "process_hangs", {"path": str(note)}, timeout=60)
        pid = int(until(lambda: note.exists() and note.read_text()))
        assert seconds_until(ledger, job_id, lambda: until(lambda: not _alive(pid))) < 1
        assert ended(ledger, send(ledger, "in_process")).state == "succeeded"
    assert kinds(ledger, job_id) == CANCELLED
    assert ledger.get(job_id).crash_count == 0


def test_d16_a_job_cancelled_while_it_waits_never_runs(ledger: Ledger) -> None:
    ran: list[str] = []

    @ledger.job("any")
    def any_(name: str) -> None:
        ran.append(name)

    cancelled, other = send(ledger, "any", {"name": "cancelled"}), send(ledger, "any", {"name": "other"})
    ledger.cancel(cancelled)
    with working(ledger, concurrency=1):
        assert ended(ledger, other).state == "succeeded"
    assert ran == ["other"]
    assert kinds(ledger, cancelled) == [Kind.ENQUEUED, Kind.CANCELLED]


def _alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False
