"""The guard against regressions: ratios of Ledger to raw Postgres in one run, held against floors in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ops.bench import results, running, servers
from ops.bench.part import PLAIN, Job
from ops.bench.sizes import NORMAL
from ops.bench.venvs import HOME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FLOORS = Path(__file__).parent / "floors.json"
RATIOS = {
    "enqueue one by one / raw INSERT + commit": ("enqueue_per_s", "raw_insert_per_s"),
    "enqueue in bulk / raw COPY": ("bulk_per_s", "raw_copy_per_s"),
    "drain / raw INSERT + commit on ten connections": ("drain_per_s", "raw_insert_ten_per_s"),
}
REPETITIONS = 3
LIMIT = 300.0
RUNS = HOME / "guard"
"""Apart from the runs that reports are made of."""


def check(scale: float, tell: Callable[[str], None]) -> bool:
    """Measure in turn, three times; tell each ratio, and return whether none is below its floor."""
    sizes = NORMAL.scaled(scale)
    with servers.opened() as installed:
        run = running.begin(sizes, installed, ["ledger"], tell, resume=False, home=RUNS)
        for repetition in range(1, REPETITIONS + 1):
            run.do(Job("raw", "servers", PLAIN, ["raw"], repetition, LIMIT), f"{repetition}.")
            run.do(Job("ledger-plain", "ledger", PLAIN, ["drain", "enqueue"], repetition, LIMIT), f"{repetition}.")
    found = ratios(results.load(run.place).medians())
    floors = json.loads(FLOORS.read_text())
    for name, floor in floors.items():
        value = found.get(name)
        shown = "not measured" if value is None else f"{value:.2f}"
        tell(f"{name}: {shown} (floor {floor})" + ("" if holds(value, floor) else "  BELOW"))
    return all(holds(found.get(name), floor) for name, floor in floors.items())


def ratios(medians: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the ratios that these figures give."""
    ours, raw = medians.get("ledger", {}), medians.get("servers", {})
    return {name: ours[figure] / raw[base] for name, (figure, base) in RATIOS.items() if figure in ours and base in raw}


def holds(value: float | None, floor: float) -> bool:
    return value is not None and value >= floor
