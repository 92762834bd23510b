"""The guard against regressions: ratios of Ledger to raw Postgres in one run, held against those of earlier runs.

A slower machine is slower at both. What a ratio may fall to is 0.7 of the lowest in the runs that `floors.json` keeps,
the last five that somebody recorded on purpose (`guard --record`), on a machine that did nothing else, when a tree was
found to be good.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ops.bench import results, running, servers
from ops.bench.part import PLAIN, Job
from ops.bench.sizes import Sizes
from ops.bench.venvs import HOME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Ratios = Mapping[str, float]
    Figures = Mapping[str, float]

FLOORS = Path(__file__).parent / "floors.json"
SHARE = 0.7
KEPT = 5
RATIOS: dict[str, Callable[[Figures, Figures], float]] = {
    # Of Ledger's figures and those of the servers alone; more is better in each.
    "enqueue one by one / raw INSERT + commit": lambda ours, raw: ours["enqueue_per_s"] / raw["raw_insert_per_s"],
    "enqueue in bulk / raw COPY": lambda ours, raw: ours["bulk_per_s"] / raw["raw_copy_per_s"],
    "drain / raw INSERT + commit on ten connections": lambda ours, raw: (
        ours["drain_per_s"] / raw["raw_insert_ten_per_s"]
    ),
    "producer and worker together / raw INSERT + commit on ten connections": lambda ours, raw: (
        ours["steady_per_s"] / raw["raw_insert_ten_per_s"]
    ),
    "raw INSERT + commit / idle latency, p50": lambda ours, raw: 1000 / raw["raw_insert_per_s"] / ours["idle_p50_ms"],
    "rebuild, events / raw COPY": lambda ours, raw: ours["rebuild_events_per_s"] / raw["raw_copy_per_s"],
    "raw INSERT + commit / history of one job, p50": lambda ours, raw: (
        1000 / raw["raw_insert_per_s"] / ours["history_p50_ms"]
    ),
    "1 / allocations a job": lambda ours, _: 1 / ours["worker_allocations_a_job"],
}
SIZES = Sizes(
    repetitions=3, enqueued=2_000, drained=10_000, samples=200, gap=0.015, steady_seconds=3.0, raw_seconds=1.0,
    events=300_000,
)  # fmt: skip
LIMIT = 300.0
RUNS = HOME / "guard"
"""Apart from the runs that reports are made of."""


def check(tell: Callable[[str], None], *, record: bool = False) -> bool:
    """Measure in turn, three times; tell each ratio, and return whether none is below its floor."""
    with servers.opened() as installed:
        run = running.begin(SIZES, installed, ["ledger"], tell, resume=False, home=RUNS)
        for number in range(1, SIZES.repetitions + 1):
            run.do(Job("raw", "servers", PLAIN, ["raw"], number, LIMIT), f"{number}.")
            run.do(Job("ledger-plain", "ledger", PLAIN, ["drain", "latency", "steady", "enqueue"], number, LIMIT),
                   f"{number}.")  # fmt: skip
            run.do(Job("allocations", "ledger", PLAIN, ["allocations"], number, LIMIT), f"{number}.")
        run.do(Job("log", "ledger", PLAIN, ["log"], 1, LIMIT), "1.")
    found = ratios(results.load(run.place).medians())
    kept = hold(found, floors(json.loads(FLOORS.read_text())["runs"]), tell)
    if record:
        FLOORS.write_text(recorded(FLOORS.read_text(), found))
    return kept


def ratios(medians: Mapping[str, Figures]) -> dict[str, float]:
    """Return the ratios that these figures give."""
    found: dict[str, float] = {}
    for name, of in RATIOS.items():
        try:
            found[name] = of(medians.get("ledger", {}), medians.get("servers", {}))
        except (KeyError, ZeroDivisionError):
            continue
    return found


def floors(runs: Iterable[Ratios]) -> dict[str, float]:
    """Return what each ratio may not fall below."""
    known = list(runs)
    return {name: SHARE * min(run[name] for run in known if name in run)
            for name in RATIOS if any(name in run for run in known)}  # fmt: skip


def hold(found: Ratios, least: Ratios, tell: Callable[[str], None]) -> bool:
    """Tell each ratio beside its floor; return whether all that have one were measured and reach it."""
    for name, floor in least.items():
        value = found.get(name)
        shown = "not measured" if value is None else f"{value:.4g}"
        tell(f"{name}: {shown} (floor {floor:.4g})" + ("" if value is not None and value >= floor else "  BELOW"))
    return all(name in found and found[name] >= floor for name, floor in least.items())


def recorded(text: str, found: Ratios) -> str:
    """Return the file's text with one run more, and of the others the latest."""
    content = json.loads(text)
    runs = [*content["runs"], {name: round(value, 6) for name, value in found.items()}][-KEPT:]
    return json.dumps({**content, "runs": runs}, indent=1) + "\n"
