"""Processes that are replaced: after so many jobs or at some size, without losing a job, a run or a slot."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from click.testing import CliRunner
from ledger_workers.executors.processes import Processes
from ledger_workers.slots import Slots
from ledger_workers.tally import Tally, counted
from ledger_workers.wear import RationedSlots, Wear, resident_bytes
from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client import Counter as Meter

from ledger.cli import main
from ledger.events import Kind
from tests.support.working import kinds, send, until, worker_command

if TYPE_CHECKING:
    from ledger import Ledger

ONCE = [Kind.ENQUEUED, Kind.LEASED, Kind.SUCCEEDED]


def live(ledger: Ledger) -> set[int]:
    with psycopg.connect(ledger.database_url) as connection:
        return {pid for (pid,) in connection.execute("select pid from ledger.workers where not stopping")}


def test_after_so_many_jobs_a_fresh_process_goes_on_and_each_job_runs_once(ledger: Ledger) -> None:
    with worker_command(ledger, "--max-jobs", "7", "--concurrency", "3") as command:
        jobs = [send(ledger, "who") for _ in range(30)]
        until(lambda: all(ledger.get(job_id).state == "succeeded" for job_id in jobs))
        assert "worker died" not in command.output
    per_process = Counter(ledger.get(job_id).result for job_id in jobs)
    assert len(per_process) >= 5
    assert max(per_process.values()) <= 7
    assert all(kinds(ledger, job_id) == ONCE for job_id in jobs)


def test_a_worn_process_finishes_what_it_runs_while_its_replacement_works(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "job"
    with worker_command(ledger, "--max-jobs", "2", WORKER_SHUTDOWN_TIMEOUT="0s") as command:
        long = send(ledger, "wait_for_file", {"path": str(path)})
        old = int(until(lambda: read(f"{path}.1.pid")))
        first, *others = [send(ledger, "who") for _ in range(4)]
        until(lambda: all(ledger.get(job_id).state == "succeeded" for job_id in (first, *others)))
        assert ledger.get(first).result == old
        assert old not in {ledger.get(job_id).result for job_id in others}
        assert ledger.get(long).state == "running"
        Path(f"{path}.go").touch()
        until(lambda: ledger.get(long).state == "succeeded")
        until(lambda: old not in live(ledger))
        assert "worker died" not in command.output
    assert kinds(ledger, long) == ONCE


def test_one_signal_ends_a_process_that_is_being_replaced_within_the_grace(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "job"
    with worker_command(ledger, "--max-jobs", "1", WORKER_SHUTDOWN_TIMEOUT="200ms") as command:
        job_id = send(ledger, "wait_for_file", {"path": str(path)})
        old = int(until(lambda: read(f"{path}.1.pid")))
        until(lambda: live(ledger) - {old})
        command.process.terminate()
        assert command.wait() == 0
    assert ledger.history(job_id)[-1].event.reason == "shutdown"
    assert ledger.get(job_id).crash_count == 0


def test_a_process_that_has_grown_is_replaced(ledger: Ledger) -> None:
    with worker_command(ledger, "--max-memory", "200MiB") as command:
        fat = send(ledger, "grow", {"mebibytes": 300})
        until(lambda: ledger.get(fat).state == "succeeded")
        until(lambda: ledger.get(fat).result not in live(ledger) and live(ledger))
        after = send(ledger, "who")
        until(lambda: ledger.get(after).state == "succeeded")
        assert "worker died" not in command.output
    assert ledger.get(after).result != ledger.get(fat).result
    assert kinds(ledger, fat) == ONCE


def test_the_process_of_a_handler_is_replaced_too(ledger: Ledger) -> None:
    # Concurrency 1, so that there is one process of handlers at a time; the worker itself is worn after 9.
    with worker_command(ledger, "--max-jobs", "3", "--concurrency", "1"):
        jobs = [send(ledger, "in_process") for _ in range(7)]
        until(lambda: all(ledger.get(job_id).state == "succeeded" for job_id in jobs))
    per_process = Counter(ledger.get(job_id).result["pid"] for job_id in jobs)
    assert sorted(per_process.values()) == [1, 3, 3]


def test_a_draining_worker_is_replaced_until_nothing_is_left(ledger: Ledger) -> None:
    jobs = [send(ledger, "who") for _ in range(10)]
    with worker_command(ledger, "--drain", "--max-jobs", "4") as command:
        assert command.wait() == 0
    per_process = Counter(ledger.get(job_id).result for job_id in jobs)
    assert sorted(per_process.values()) == [2, 4, 4]


@pytest.mark.parametrize(("option", "value"), [("--max-jobs", "0"), ("--max-memory", "lots"), ("--max-memory", "1GB")])
def test_nonsense_is_a_usage_error(option: str, value: str) -> None:
    result = CliRunner().invoke(main, ["worker", "a:b", option, value])
    assert result.exit_code == 2
    assert option in result.output


def test_rationed_slots_give_no_more_than_is_left_and_say_when_it_is_taken() -> None:
    worn: list[bool] = []
    slots = RationedSlots(4, 6, lambda: worn.append(True))
    assert slots.wait(0) == 4
    slots.take(4)
    slots.free(4)
    assert slots.wait(0) == 2
    assert not worn
    slots.take(2)
    slots.free(2)
    assert slots.wait(0) == 0
    assert worn
    assert slots.wait_until_empty(0)


def test_the_size_of_a_process_is_what_the_system_says() -> None:
    said = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert said is not None
    assert abs(resident_bytes(os.getpid()) - int(said[1]) * 1024) < 20 << 20
    assert resident_bytes(1 << 30) == 0


def test_sums_over_processes_never_fall_when_one_goes() -> None:
    tally = Tally()
    for worker_id, count in (("a", 2), ("b", 3)):
        registry = CollectorRegistry()
        Meter("done", "Done.", ["queue"], registry=registry).labels("mail").inc(count)
        Histogram("took", "Took.", buckets=(1, 5), registry=registry).observe(count)
        Gauge("size", "No sum.", registry=registry).set(9)
        tally.hear(worker_id, counted(registry))
    tally.bury("a")
    tally.bury("c")
    samples = {
        (sample.name, *sample.labels.values()): sample.value for each in tally.collect() for sample in each.samples
    }
    assert samples == {
        ("done_total", "mail"): 5,
        ("took_count",): 2,
        ("took_sum",): 5,
        ("took_bucket", "1.0"): 0,
        ("took_bucket", "5.0"): 2,
        ("took_bucket", "+Inf"): 2,
    }


def read(path: str) -> str:
    try:
        return Path(path).read_text()
    except FileNotFoundError:
        return ""


def test_without_limits_nothing_wears() -> None:
    assert not Wear().is_used_up(10**9)
    assert not Wear().is_too_large(os.getpid())
    assert isinstance(Processes("a:b"), Processes)
    assert Slots(3).wait(0) == 3
