"""One part of the benchmark as a process of its own: `python -m ops.bench.part JOB`, JOB a line of JSON.

Writes its figures to a file; that file is there only if the part came to its end.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.cli_output import Failure
from ops.bench.catalogue import ASYNC, MANY, PEERS, PLAIN, TWO
from ops.bench.measures import allocating, biglog, growth, queueing, raw, resting, starting, web
from ops.bench.servers import Servers
from ops.bench.session import Session
from ops.bench.sizes import Sizes

if TYPE_CHECKING:
    from collections.abc import Callable

SESSION = {
    # In this order: the drain finds a fresh system, and the worker it has started serves the next ones.
    "drain": queueing.drain,
    "latency": queueing.latency,
    "paced": queueing.paced,
    "steady": queueing.steady,
    "enqueue": queueing.enqueue,
}
MODES = {ASYNC: "async", MANY: "many", TWO: "two"}
"""Modes that are drained and nothing else, and the name of that measure."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to do: a peer in a mode with some measures, or something of its own."""

    name: str
    peer: str
    mode: str
    measures: list[str]
    repetition: int
    limit: float

    @property
    def title(self) -> str:
        if self.peer == "servers":
            return "raw limits of the servers"
        how = "" if self.mode == PLAIN else f", {PEERS[self.peer].modes[self.mode]}"
        return f"{PEERS[self.peer].title}{how}: {', '.join(self.measures)}"


def run(job: Job, servers: Servers, sizes: Sizes, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return the figures of all the job's measures; figures of another mode carry its name."""
    if job.name == "raw":
        figures = raw.measure(servers, sizes)
    elif job.name == "start":
        figures = starting.measure(sizes)
    else:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=_memory()) as place:
            action = _grown if job.measures[0] in GROWTH else OWN.get(job.name, _session)
            figures = action(job, servers, sizes, Path(place))
    for name, value in figures.items():
        if isinstance(value, float | int):
            tell(f"{name} {value:,.2f}")
    return figures


def _session(job: Job, servers: Servers, sizes: Sizes, place: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"series": {}}
    with Session(PEERS[job.peer], job.mode, servers, place) as session:
        for measure in (name for name in SESSION if name in job.measures or MODES.get(job.mode) in job.measures):
            if job.mode != PLAIN and measure != "drain":
                continue
            if "worker" not in session.crew.pids and measure in {"latency", "paced", "steady"}:
                session.warm_worker()
            if measure == "enqueue" and "worker" in session.crew.pids:
                session.stop_worker()
            figures = SESSION[measure](session, sizes)
            found["series"] |= figures.pop("series", {})
            found |= figures
    return found if job.mode == PLAIN else {f"{job.mode}_{name}": value for name, value in found.items()}


def _resting(_: Job, servers: Servers, sizes: Sizes, place: Path) -> dict[str, Any]:
    with Session(PEERS["ledger"], PLAIN, servers, place, [web.ORDER]) as session:
        return resting.measure(session, sizes)


def _web(_: Job, servers: Servers, sizes: Sizes, place: Path) -> dict[str, Any]:
    with Session(PEERS["ledger"], PLAIN, servers, place, [web.ORDER]) as session:
        return web.measure(session, sizes, place)


def _allocating(_: Job, servers: Servers, sizes: Sizes, place: Path) -> dict[str, Any]:
    with Session(PEERS["ledger"], PLAIN, servers, place) as session:
        return allocating.measure(session, sizes)


def _grown(job: Job, servers: Servers, sizes: Sizes, place: Path) -> dict[str, Any]:
    (name,) = job.measures
    with Session(PEERS[job.peer], PLAIN, servers, place) as session:
        figures = GROWTH[name](session, sizes)
    return growth.beside(name, figures, _fresh_again(job, servers, sizes, place))


def _log(job: Job, servers: Servers, sizes: Sizes, place: Path) -> dict[str, Any]:
    with Session(PEERS["ledger"], PLAIN, servers, place, [web.ORDER]) as session:
        figures = biglog.measure(session, sizes)
    return growth.beside("old_events", figures, _fresh_again(job, servers, sizes, place))


def _fresh_again(job: Job, servers: Servers, sizes: Sizes, place: Path) -> growth.Drained:
    own = place / "again"
    own.mkdir()
    with Session(PEERS[job.peer], PLAIN, servers, own) as session:
        return growth.drain(session, sizes.drained)


GROWTH = {"backlog": growth.backlog, "snapshot": growth.snapshot}
OWN: dict[str, Callable[[Job, Servers, Sizes, Path], dict[str, Any]]] = {
    "idle": _resting, "http": _web, "allocations": _allocating, "log": _log,
}  # fmt: skip


def keep(out: Path, job: Job, figures: dict[str, Any]) -> None:
    """Write the figures beside those that earlier runs of this part have left for other measures."""
    before = json.loads(out.read_text()) if out.exists() else {"job": {"measures": []}, "figures": {}}
    measures = [*job.measures, *(name for name in before["job"]["measures"] if name not in job.measures)]
    merged = before["figures"] | figures
    for name, value in before["figures"].items():
        if isinstance(value, dict):
            merged[name] = value | figures.get(name, {})
    draft = out.with_suffix(".draft")
    draft.write_text(json.dumps({"job": asdict(job) | {"measures": measures}, "figures": merged}))
    draft.replace(out)


def _memory() -> str | None:
    """Return where stamps cost no disk, if there is such a place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def main(text: str) -> None:
    given = json.loads(text)
    job, out = Job(**given["job"]), Path(given["out"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped: it took too long"))
    try:
        figures = run(job, Servers(**given["servers"]), Sizes(**given["sizes"]), lambda words: print(f"    {words}"))
    except Failure as error:
        sys.exit(str(error))
    except Exception as error:  # noqa: BLE001 — whatever it is, the run goes on and tells it in one line
        traceback.print_exc()
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
    keep(out, job, figures)


if __name__ == "__main__":
    main(sys.argv[1])
