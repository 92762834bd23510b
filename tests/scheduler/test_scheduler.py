"""The scheduler as a whole: its loops together, woken for short delays, and the process that runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from ledger_projections.builtin import PROJECTIONS
from ledger_projections.engine import Engine
from ledger_scheduler.idempotency import IdempotencyKeys
from ledger_scheduler.partitions import Partitions
from ledger_scheduler.scheduler import LOOPS, Scheduler

from ledger import settings
from ledger.job import State
from ledger.runtime.service import Loop
from ledger.wake import Waker

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from tests.support.scheduling import Stage

PATIENCE = 30.0


def test_a_short_delay_does_not_wait_for_the_next_poll(stage: Stage, redis_url: str) -> None:
    stop = threading.Event()
    chosen = settings.from_env({"SCHEDULER_POLL_INTERVAL": "1h", "EVENT_RETENTION": "24h"})
    scheduler = Scheduler(stage.database, redis_url, chosen, stop)
    tenth = timedelta(milliseconds=10)
    projector = Loop(Engine(stage.database, PROJECTIONS[0]), stop, shortest=tenth, longest=tenth).start()
    running = threading.Thread(target=scheduler.run)
    running.start()
    try:
        waker = Waker(redis_url)

        def is_made_ready(job: UUID) -> bool:
            waker.wake()
            return stage.job(job).state is State.READY

        for _ in range(2):  # the second finds loops that would sleep for long
            job = stage.enqueue(delay=timedelta(milliseconds=100))
            wait_until(lambda job=job: is_made_ready(job))
    finally:
        stop.set()
        running.join(PATIENCE)
        projector.join(PATIENCE)
    assert not running.is_alive()
    assert len(scheduler.loops) == LOOPS


def test_sigterm_ends_the_process_cleanly(stage: Stage, database: str, redis_url: str) -> None:
    job = stage.enqueue(delay=timedelta(milliseconds=100))
    stage.fold()
    environment = os.environ | {"DATABASE_URL": database, "REDIS_URL": redis_url}
    process = subprocess.Popen([sys.executable, "-m", "ledger", "scheduler"], env=environment, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: stage.job(job).state is State.READY)
        process.send_signal(signal.SIGTERM)
        _, lines = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, lines) == (0, b"")


def test_a_bad_setting_is_refused_at_the_start() -> None:
    environment = os.environ | {"SCHEDULER_BATCH_SIZE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "ledger", "scheduler"], env=environment, check=False, capture_output=True, timeout=60
    )
    assert done.returncode == 2
    assert b"SCHEDULER_BATCH_SIZE" in done.stderr


def test_missing_partitions_are_made_weeks_ahead(stage: Stage) -> None:
    count = "select count(*) from pg_inherits where inhparent = 'ledger.events'::regclass"
    with stage.database.connection() as connection:
        before = connection.execute(count).fetchone()
        last = "select inhrelid::regclass::text from pg_inherits where inhparent = 'ledger.events'::regclass order by 1"
        name = connection.execute(last).fetchall()[-1][0]
        connection.execute(f"drop table {name}")
        assert not Partitions(stage.database).run_once()
        assert connection.execute(count).fetchone() == before


def test_old_idempotency_keys_are_deleted_in_batches_and_young_ones_kept(stage: Stage) -> None:
    stage.execute(
        "insert into ledger.idempotency_keys (key, job_id, fingerprint, created_at)"
        " select n::text, gen_random_uuid(), '', now() - make_interval(hours => n)"
        " from generate_series(0, 48) as n"
    )
    service = IdempotencyKeys(stage.database, timedelta(hours=24), batch_size=20)
    assert [service.run_once(), service.run_once()] == [True, False]
    with stage.database.connection() as connection:
        assert connection.execute("select count(*), max(key::int) from ledger.idempotency_keys").fetchone() == (24, 23)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)
