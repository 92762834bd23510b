"""What the system says about a run afterwards, checked against the files, and put into words.

Everything here was answered by the HTTP API. `complaints` compares it with the files themselves: one job a file, one
end a job, one successful attempt at most, and the digest the job reported equal to the file's own.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.panel import Panel
from rich.table import Table

from ledger.cli_output import plain
from ledger.durations import in_words
from ledger.timeline import timeline
from ops.demo.files import QUEUES, name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from ops.demo.web import Web

PERCENTILES = ("p50", "p95", "p99", "max")
LONGEST_LIST = 25
REASONS = {"permanent": "yellow", "retries_exhausted": "red", "poison": "bold red"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run as the API tells it."""

    jobs: list[dict[str, Any]]
    dead_letters: list[dict[str, Any]]
    attempts: list[dict[str, Any]]

    @property
    def succeeded(self) -> list[dict[str, Any]]:
        return [job for job in self.jobs if job["state"] == "succeeded"]

    @property
    def begun(self) -> datetime:
        return min(datetime.fromisoformat(job["created_at"]) for job in self.jobs)

    @property
    def span(self) -> timedelta:
        """From the first job made to the last one ended."""
        return max(datetime.fromisoformat(job["completed_at"]) for job in self.jobs) - self.begun

    def attempts_ended(self, *states: str) -> int:
        return sum(attempt["state"] in states for attempt in self.attempts)


def collect(web: Web, run: str) -> Outcome:
    """Read a run's jobs, dead letters and attempts, page by page."""
    jobs = list(web.pages("/jobs", correlation_id=run, limit=1000))
    ours = {job["id"] for job in jobs}
    since = min((job["created_at"] for job in jobs), default="1970-01-01T00:00:00Z")
    dead = web.pages("/dlq", failed_after=since, limit=1000)
    attempts = web.pages("/executions", started_after=since, limit=1000)
    return Outcome(
        jobs,
        [letter for letter in dead if letter["job_id"] in ours],
        [attempt for attempt in attempts if attempt["job_id"] in ours],
    )


def complaints(files: Sequence[Path], outcome: Outcome) -> list[str]:
    """Return everything that is wrong with a run; empty if each file was done exactly once."""
    wanted = {name(path): path for path in files}
    counts = Counter(job["metadata"]["file"] for job in outcome.jobs)
    found = [f"no job for {file}" for file in wanted if not counts[file]]
    found += [f"{count} jobs for {file}" for file, count in counts.items() if count > 1]
    found += [f"a job for {file}, which is no file of ours" for file in counts if file not in wanted]
    for job in outcome.jobs:
        if job["state"] not in ("succeeded", "dead"):
            found.append(f"{job['metadata']['file']} is {job['state']}")
    found += _miscounted(outcome)
    for job in outcome.succeeded:
        path, result = wanted.get(job["metadata"]["file"]), job["result"]
        if path is not None and result["sha256"] != hashlib.sha256(path.read_bytes()).hexdigest():
            found.append(f"the digest reported for {path} is not the file's")
    return found


def _miscounted(outcome: Outcome) -> list[str]:
    successes = Counter(attempt["job_id"] for attempt in outcome.attempts if attempt["state"] == "succeeded")
    found = [f"job {job_id} succeeded {count} times" for job_id, count in successes.items() if count > 1]
    found += [f"job {job['id']} has no successful attempt" for job in outcome.succeeded if not successes[job["id"]]]
    dead = {job["id"] for job in outcome.jobs if job["state"] == "dead"}
    letters = {letter["job_id"] for letter in outcome.dead_letters}
    found += [f"job {job_id} is dead but no dead letter" for job_id in dead - letters]
    return found + [f"job {job_id} is a dead letter but not dead" for job_id in letters - dead]


def show_totals(console: Console, outcome: Outcome) -> None:
    results = [job["result"] for job in outcome.succeeded]
    seconds = outcome.span.total_seconds()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", style="bold")
    grid.add_column()
    for value, words in (
        (len(outcome.succeeded), "[green]succeeded[/]"),
        (len(outcome.dead_letters), "[bold red]dead letters[/]"),
        (outcome.attempts_ended("failed"), "runs that failed and were retried"),
        (outcome.attempts_ended("crashed", "released"), "runs taken back from lost workers"),
        (sum(result["lines"] for result in results), "lines"),
        (sum(result["functions"] for result in results), "functions"),
        (sum(result["size"] for result in results), "bytes"),
    ):
        grid.add_row(f"{value:,}", words)
    grid.add_row(f"{len(outcome.jobs) / seconds:,.1f}", f"jobs a second, over {seconds:.1f} s")
    console.print(Panel(grid, title="[bold]What the jobs found[/]", title_align="left", expand=False, padding=(0, 2)))


def show_queues(console: Console, web: Web, outcome: Outcome) -> None:
    """Print statistics from the queues' read model, over the minutes of this run."""
    minutes = int(outcome.span.total_seconds() // 60) + 2
    counts = _table("Queue", "enqueued", "succeeded", "failed", "retried", "dead", "crashed", "a second")
    times = _table("Queue", *(f"wait\n{p}" for p in PERCENTILES), *(f"run\n{p}" for p in PERCENTILES))
    for queue in sorted(QUEUES):
        stats = web.get(f"/queues/{queue}/stats", window=f"{minutes}m")
        names = ("enqueued", "succeeded", "failed", "retried", "dead_lettered", "crashed")
        rate = stats["succeeded"] / max(outcome.span.total_seconds(), 0.001)
        counts.add_row(queue, *(f"{stats[member]:,}" for member in names), f"{rate:,.1f}")
        waits, runs = stats["wait_seconds"], stats["run_seconds"]
        times.add_row(queue, *(_seconds(waits[p]) for p in PERCENTILES), *(_seconds(runs[p]) for p in PERCENTILES))
    waits = _measured(outcome, "wait_ms")
    runs = _measured(outcome, "duration_ms")
    times.add_row("[bold]this run[/]", *(_seconds(value) for value in (*waits, *runs)), style="bold")
    section(console, f"Queues, the last {minutes} minutes")
    console.print(counts)
    console.print()
    console.print(times)


def show_dead_letters(console: Console, outcome: Outcome) -> None:
    letters = sorted(outcome.dead_letters, key=lambda letter: (letter["reason"], letter["metadata"]["file"]))
    section(console, f"Dead letters: {len(letters)} files that cannot be compiled")
    table = _table("File", "reason", "runs", "error", right=("runs",))
    table.columns[0].no_wrap = table.columns[1].no_wrap = table.columns[-1].no_wrap = True
    table.columns[-1].overflow, table.columns[-1].ratio, table.expand = "ellipsis", 1, True
    for letter in letters[:LONGEST_LIST]:
        table.add_row(
            plain(letter["metadata"]["file"].rpartition("/")[2]),
            f"[{REASONS[letter['reason']]}]{letter['reason'].replace('_', ' ')}[/]",
            str(letter["attempt"]),
            f"[dim]{plain(letter['error_message'])}[/]",
        )
    console.print(table)
    console.print(
        "\n  [yellow]permanent[/]: the handler said that no retry can help\n"
        "  [red]retries exhausted[/]: tried again and again, later each time",
        highlight=False,
    )
    if len(letters) > LONGEST_LIST:
        console.print(f"  … and {len(letters) - LONGEST_LIST} more", style="dim")


def show_history(console: Console, web: Web, outcome: Outcome) -> None:
    """Print the history of the job that had the most to go through."""
    job = max(outcome.jobs, key=lambda job: (job["crash_count"], job["state"] == "succeeded", job["version"]))
    section(console, f"One job's history: {job['metadata']['file']}")
    events = list(web.pages(f"/jobs/{job['id']}/events", limit=1000))
    console.print(timeline(events))
    console.print(f"\n  [dim]ledger job events {job['id']}[/] shows it again at any time", highlight=False)


def _measured(outcome: Outcome, member: str) -> list[float | None]:
    """Return the exact percentiles of all attempts of the run, in seconds."""
    values = sorted(attempt[member] / 1000 for attempt in outcome.attempts if attempt[member] is not None)
    if not values:
        return [None] * len(PERCENTILES)
    return [values[min(int(len(values) * share), len(values) - 1)] for share in (0.5, 0.95, 0.99, 1.0)]


def _seconds(value: float | None) -> str:
    return "–" if value is None else in_words(timedelta(seconds=value))


def _table(first: str, *others: str, right: Sequence[str] | None = None) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim", pad_edge=True)
    table.add_column(first)
    for column in others:
        numeric = right is None or column in right
        table.add_column(column, justify="right" if numeric else "left", no_wrap=numeric)
    return table


def section(console: Console, title: str) -> None:
    console.print(f"\n[bold cyan]▌[/] [bold]{title}[/]\n", highlight=False)
