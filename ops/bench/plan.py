"""Which parts a run has, in which order: every system in turn, and that as often as there are repetitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.bench.catalogue import GROWN, PEERS, PLAIN
from ops.bench.part import GROWTH, MODES, SESSION, Job

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ops.bench.sizes import Sizes

OURS = ("start", "idle", "http", "allocations")
LOG = "log"
MEASURES = ("raw", *SESSION, *MODES.values(), *OURS, *GROWTH, LOG)
QUICK = ("raw", *SESSION, "many", *OURS)
"""What two minutes are enough for."""
ALIASES = {"bulk": "drain", "rebuild": LOG, "history": LOG, "lists": LOG, "import": "start"}
"""Measures that are taken along with others."""


def jobs(peers: Sequence[str], measures: Collection[str], sizes: Sizes) -> list[Job]:
    """Return the parts in their order. What takes long and spreads little, growth, is measured once, at the end."""
    found: list[Job] = []
    for repetition in range(1, sizes.repetitions + 1):
        if "raw" in measures:
            found.append(Job("raw", "servers", PLAIN, ["raw"], repetition, 60 + 20 * sizes.raw_seconds))
        for peer in peers:
            found += _of_peer(peer, measures, repetition, sizes)
        if "ledger" in peers:
            found += [Job(name, "ledger", PLAIN, [name], repetition, 120 + 4 * _seconds(name, sizes))
                      for name in OURS if name in measures]  # fmt: skip
    for name in GROWTH:
        found += [Job(f"{peer}-{name}", peer, PLAIN, [name], 1, 600 + 2 * _seconds(name, sizes))
                  for peer in GROWN if peer in peers and name in measures]  # fmt: skip
    if LOG in measures and "ledger" in peers:
        found.append(Job(LOG, "ledger", PLAIN, [LOG], 1, 600 + sizes.events / 5_000))
    return found


def _of_peer(peer: str, measures: Collection[str], repetition: int, sizes: Sizes) -> Iterator[Job]:
    limit = 300 + sizes.drained / 100 + 4 * (sizes.samples * sizes.gap + sizes.paced_seconds + sizes.steady_seconds)
    if plain := [name for name in SESSION if name in measures]:
        yield Job(f"{peer}-{PLAIN}", peer, PLAIN, plain, repetition, limit)
    for mode, name in MODES.items():
        if name in measures and mode in PEERS[peer].modes:
            yield Job(f"{peer}-{mode}", peer, mode, [name], repetition, 120 + sizes.drained / 100)


def _seconds(name: str, sizes: Sizes) -> float:
    return {"idle": sizes.idle_seconds, "http": sizes.http_seconds, "snapshot": sizes.snapshot_seconds,
            "backlog": sizes.backlog / 1_000}.get(name, 0.0)  # fmt: skip
