"""The report of a run: tables in Markdown, verdicts beside their targets, pictures, and every figure as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.bench import plots
from ops.bench.catalogue import MANY, PEERS, TWO
from ops.bench.targets import shown_number, verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ops.bench.results import Results

BY_HAND = "<!-- by hand from here on; the program keeps it -->"
FRAME = f"""{BY_HAND}

## Where the time goes where a target is missed

Nothing is written down yet.

## What was tried and did not help

Nothing is written down yet.
"""

HEAD = """# Results of the benchmark

Written by `make bench`. Every figure is a median of all repetitions, with half the distance from least to greatest
behind it."""
CONDITIONS = (
    "all systems: total concurrency 10 unless said otherwise, jobs that do nothing but note the time, "
    "one clock (CLOCK_MONOTONIC) for all processes"
)

COLUMNS = {
    "enqueue one by one /s": "enqueue_per_s",
    "bulk /s": "bulk_per_s",
    "drain /s": "drain_per_s",
    "idle latency p50 ms": "idle_p50_ms",
    "p99 ms": "idle_p99_ms",
    "at 1,000/s p99 ms": "paced_p99_ms",
    "steady /s": "steady_per_s",
    "worker CPU µs/job": "worker_us",
}
PICTURES = {
    "latency": ("Idle latency", "share of jobs", "milliseconds", "idle_latency", True),
    "loaded_latency": ("Latency at 1,000 jobs/s", "share of jobs", "milliseconds", "paced_latency", True),
    "throughput": ("Drain: jobs started over time", "seconds", "jobs/s", "throughput", True),
    "steady": ("Producer and worker together", "seconds", "jobs/s", "steady", True),
    "growth": ("Drain beside the fresh rate, as costs grow", "seconds", "jobs/s", "growth", False),
}


def write(results: Results, place: Path, page: Path) -> None:
    """Write page, pictures and JSON; what was written into the page by hand is kept."""
    place.mkdir(parents=True, exist_ok=True)
    for old in place.glob("*.svg"):
        old.unlink()
    (place / "results.json").write_text(results.as_json() + "\n")
    drawn = [name for name, picture in pictures(results).items() if (place / f"{name}.svg").write_text(picture)]
    before = page.read_text() if page.exists() else ""
    kept = before[before.index(BY_HAND) :] if BY_HAND in before else FRAME
    links = [f"![{PICTURES[name][0]}]({place.relative_to(page.parent) / name}.svg)" for name in drawn]
    page.write_text(text(results, links) + "\n" + kept)


def text(results: Results, links: Sequence[str] = ()) -> str:
    """Return the page without what is written by hand."""
    sections = [
        HEAD,
        _about(results),
        "## Targets\n\n" + _targets(results),
        "## Side by side\n\n" + _peers(results),
        "## Other modes\n\n" + _modes(results),
        "## Raw limits of the servers, same run\n\n" + _group(results, "servers", "raw_"),
        "## CPU a job of a drain, from enqueue to the last read model\n\n" + _cpu(results),
        "## Everything of Ledger\n\n" + _group(results, "ledger", ""),
    ]
    if results.failures:
        sections.append("## Failed\n\n" + "\n".join(f"* {failure}" for failure in results.failures))
    if links:
        sections.append("## Pictures\n\n" + "\n\n".join(links))
    return "\n\n".join(sections) + "\n"


def pictures(results: Results) -> dict[str, str]:
    """Return the pictures there are points for, as SVG."""
    drawn: dict[str, str] = {}
    for name, (title, x, y, series, logarithmic) in PICTURES.items():
        found = {
            PEERS[peer].title + each.removeprefix(series).replace("_", " "): points
            for peer in PEERS
            for each, points in results.series.get(peer, {}).items()
            if each.startswith(series) and points
        }
        if found:
            drawn[name] = plots.lines(title, x, y, found, logarithmic=logarithmic)
    return drawn


def _about(results: Results) -> str:
    about = results.about
    rows = [f"* {name}: {value}" for name, value in (about["machine"] | about["servers"]).items()]
    sizes = ", ".join(f"{name} {value:,}" for name, value in about["sizes"].items())
    versions = ", ".join(f"{PEERS[peer].title} {number}" for peer, number in about["versions"].items())
    durable = "yes" if about["durable"] else "**NO: these figures say nothing about a durable system**"
    rows += [f"* durable (fsync, synchronous commit, append-only file): {durable}", f"* versions: {versions}"]
    return "\n".join([*rows, f"* sizes: {sizes}", f"* {CONDITIONS}"])


def _targets(results: Results) -> str:
    words = {True: "met", False: "**missed**", None: "–"}
    rows = [(v.what, v.target, v.found, words[v.met]) for v in verdicts(results.medians())]
    return _table(("what", "target", "found", ""), rows)


def _peers(results: Results) -> str:
    rows = [
        (f"{PEERS[peer].title} ({PEERS[peer].store}; {PEERS[peer].modes['plain']})",
         *(_shown(results, peer, figure) for figure in COLUMNS.values()))
        for peer in PEERS
        if peer in results.values
    ]  # fmt: skip
    return _table(("system", *COLUMNS), rows)


def _modes(results: Results) -> str:
    rows = [
        (PEERS[peer].title, PEERS[peer].modes[mode], _shown(results, peer, f"{mode}_drain_per_s"),
         _shown(results, peer, f"{mode}_worker_us"))
        for peer in PEERS
        for mode in ("async", MANY, TWO)
        if results.summary(peer, f"{mode}_drain_per_s")
    ]  # fmt: skip
    return _table(("system", "mode", "drain /s", "worker CPU µs/job"), rows) if rows else "Not measured."


def _cpu(results: Results) -> str:
    kinds = ("client", "worker", "projector", "scheduler", "api", "postgres", "redis")
    rows = [
        (PEERS[peer].title, *(_shown(results, peer, f"cpu_{kind}_us") for kind in kinds))
        for peer in PEERS
        if results.summary(peer, "cpu_worker_us")
    ]
    asked = _shown(results, "ledger", "worker_allocations_a_job")
    return (
        _table(("µs a job", *kinds), rows)
        + f"\n\nLedger's worker asks for memory (malloc, calloc, realloc) a job: {asked}."
    )


def _group(results: Results, peer: str, prefix: str) -> str:
    found = results.values.get(peer, {})
    rows = [(name, _shown(results, peer, name)) for name in sorted(found) if name.startswith(prefix)]
    return _table(("figure", "median"), rows) if rows else "Not measured."


def _shown(results: Results, peer: str, figure: str) -> str:
    found = results.summary(peer, figure)
    if found is None:
        return "–"
    spread = f" ±{found.spread * 100:.0f} %" if found.count > 1 else ""
    return shown_number(found.median) + spread


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
