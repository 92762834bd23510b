"""How much of everything is measured; always printed, for figures mean nothing without it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Sizes:
    repetitions: int = 3
    enqueued: int = 5_000
    """Jobs enqueued one by one."""
    drained: int = 20_000
    chunk: int = 5_000
    """Jobs a call in bulk."""
    samples: int = 1_000
    """Jobs for idle latency."""
    gap: float = 0.02
    """Seconds between them."""
    paced_rate: int = 1_000
    paced_seconds: float = 10.0
    steady_seconds: float = 10.0
    raw_seconds: float = 3.0
    http_seconds: float = 10.0
    idle_seconds: float = 20.0
    starts: int = 10
    """Times a process is started to see how long it takes."""
    backlog: int = 100_000
    """Jobs that wait already, for cost growth."""
    events: int = 3_000_000
    """Old events in the log, for cost growth, the rebuild, histories and lists: three a job."""
    snapshot_seconds: float = 60.0
    """For how long a snapshot is held open under load."""

    def scaled(self, factor: float) -> Sizes:
        """Return these sizes with all amounts of jobs and all seconds multiplied; rates and repetitions stay."""
        kept = {"repetitions", "gap", "paced_rate", "starts", "chunk"}
        now = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in kept}
        return replace(self, **{name: _times(value, factor) for name, value in now.items()})


def _times(value: float, factor: float) -> float:
    return max(int(value * factor), 1) if isinstance(value, int) else round(value * factor, 6)


NORMAL = Sizes()
QUICK = Sizes(
    repetitions=1, enqueued=1_000, drained=5_000, samples=100, gap=0.015, paced_seconds=1.5, steady_seconds=2.5,
    raw_seconds=0.5, http_seconds=2.0, idle_seconds=3.0, starts=3, backlog=20_000, events=60_000, snapshot_seconds=5.0,
)  # fmt: skip
FULL = Sizes(backlog=1_000_000, events=20_000_000, snapshot_seconds=600.0)


def chosen(*, quick: bool = False, full: bool = False, scale: float = 1.0, repetitions: int | None = None) -> Sizes:
    """Return the sizes that these options ask for."""
    sizes = (QUICK if quick else FULL if full else NORMAL).scaled(scale)
    return replace(sizes, repetitions=repetitions) if repetitions else sizes
