"""What every system is measured by: enqueueing, draining, latency, and producer and worker together.

Figures end in their unit: `_per_s`, `_ms`, `_us`, `_s`. Series are lists of points for the plots.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ledger.cli_output import Failure
from ops.bench import ledger_side
from ops.bench.figures import NANO, over_time, percentile, quantiles, rate
from ops.bench.session import pause, spent

if TYPE_CHECKING:
    from ops.bench.session import Session
    from ops.bench.sizes import Sizes

Figures = dict[str, Any]

WARM_UP = 20
"""Jobs before latency is measured."""
SETTLE = 0.5
FASTEST, MOST = 60_000, 25_000_000
"""Jobs a second that no system reaches, and the most of one steady run: for how many numbers are kept."""
LATE_SHARE = 0.2
"""Of a steady run, the part at its beginning that is left out."""


def enqueue(session: Session, sizes: Sizes) -> Figures:
    """Enqueue one by one, nobody working."""
    made = session.produce("one", session.numbers(sizes.enqueued), count=sizes.enqueued)
    return {"enqueue_per_s": made["per_s"], "enqueue_client_us": made["cpu_us"]}


def drain(session: Session, sizes: Sizes) -> Figures:
    """Enqueue in bulk, then start the worker; from the first handler to the last, and to the last record of ours."""
    count, before = sizes.drained, session.cpu()
    first = session.numbers(count)
    made = session.produce("bulk", first, count=count, chunk=sizes.chunk)
    caught_up = session.await_caught_up()
    figures, series = drained(session, first, count)
    lag = session.await_caught_up()
    used = spent(before, session.cpu())
    used["worker"] = figures["worker_us"] * 1e-6 * count  # without what its start took
    figures |= {f"cpu_{kind}_us": seconds / count * 1e6 for kind, seconds in used.items()}
    figures |= {"cpu_client_us": made["cpu_us"], "bulk_per_s": made["per_s"]}
    if session.is_ledger:
        figures |= {"bulk_read_models_s": caught_up, "drain_read_models_s": lag}
    return {**figures, "series": {"throughput": series}}


def drained(session: Session, first: int, count: int) -> tuple[Figures, list[tuple[float, float]]]:
    """Start the worker on jobs that are there; return the rate, its CPU a job, and the rate over time."""
    before = _recorded_so_far(session)
    session.start_worker()
    session.await_first(first, count)
    begun = session.cpu()["worker"]
    session.await_started(first, count)
    times = session.started.times(first, count)
    recorded = 0
    if session.is_ledger:
        recorded = ledger_side.await_recorded(session.servers, before + count, session.watch)
    worker = session.cpu()["worker"] - begun
    figures = {"drain_per_s": rate(times, recorded), "worker_us": worker / count * 1e6}
    if session.is_ledger:
        figures["drain_handlers_per_s"] = rate(times)
    return figures, over_time(times)


def latency(session: Session, sizes: Sizes) -> Figures:
    """From the call of enqueue to the start of the handler, everything else at rest."""
    count = sizes.samples + WARM_UP
    first = session.numbers(count)
    pause(SETTLE)
    session.produce("idle", first, count=count, gap=sizes.gap)
    session.await_started(first, count)
    return _latencies(session, first + WARM_UP, sizes.samples, "idle")


def paced(session: Session, sizes: Sizes) -> Figures:
    """The same at a fixed rate of jobs."""
    count = int(sizes.paced_rate * sizes.paced_seconds)
    first = session.numbers(count)
    made = session.produce("paced", first, count=count, rate=sizes.paced_rate)
    session.await_started(first, count)
    skipped = count // 10
    return {
        **_latencies(session, first + skipped, count - skipped, "paced"),
        "paced_reached_per_s": made["per_s"],
    }


def steady(session: Session, sizes: Sizes, seconds: float | None = None) -> Figures:
    """Producer and worker together, as fast as they go; at the end nothing may be left behind."""
    seconds = seconds or sizes.steady_seconds
    most = min(int(seconds * FASTEST), MOST)
    first, before, begun = session.numbers(most), session.cpu(), time.monotonic_ns()
    producer = session.producing("steady", first, most=most, chunk=100, ahead=2_000, seconds=seconds)
    while producer.running():
        session.watch(0.05)
    made = producer.result(10)
    session.await_started(first, made["made"])
    lag = session.await_caught_up()
    used = spent(before, session.cpu())
    times = sorted(session.started.times(first, made["made"]))
    warm = times[0] + int((made["ended_ns"] - times[0]) * LATE_SHARE)
    counted = [at for at in times if warm <= at <= made["ended_ns"]]
    if len(counted) < 2:
        raise Failure("too few jobs ran while the producer was at work")
    figures = {
        "steady_per_s": rate(counted),
        "steady_jobs_lag_s": max(times[-1] - made["ended_ns"], 0) * NANO,
        "steady_worker_us": used["worker"] / made["made"] * 1e6,
    }
    if session.is_ledger:
        figures["steady_read_models_lag_s"] = lag
    return {**figures, "series": {"steady": over_time([at - begun for at in times])}}


def _latencies(session: Session, first: int, count: int, name: str) -> Figures:
    called, started = session.called.times(first, count), session.started.times(first, count)
    waits = [(start - call) * NANO * 1000 for call, start in zip(called, started, strict=True)]
    figures = {f"{name}_p{int(share * 100)}_ms": percentile(waits, share) for share in (0.5, 0.99)}
    return {**figures, "series": {f"{name}_latency": quantiles(waits)}}


def _recorded_so_far(session: Session) -> int:
    return ledger_side.recorded(session.servers) if session.is_ledger else 0
