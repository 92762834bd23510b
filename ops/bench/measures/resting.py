"""What an idle installation costs: CPU of all processes together, memory of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ops.bench import usage
from ops.bench.session import pause, spent

if TYPE_CHECKING:
    from ops.bench.session import Session
    from ops.bench.sizes import Sizes

QUIET = 3.0


def measure(session: Session, sizes: Sizes) -> dict[str, Any]:
    """Let projector, scheduler, API and worker rest for a while, a few jobs behind them."""
    session.warm_worker()
    session.await_caught_up()
    session.cpu()  # what is asked only once must not count
    pause(QUIET)
    before = session.cpu()
    pause(sizes.idle_seconds)
    used = spent(before, session.cpu())
    figures = {f"idle_{kind}_percent": seconds / sizes.idle_seconds * 100 for kind, seconds in used.items()}
    figures["idle_all_percent"] = sum(used.values()) / sizes.idle_seconds * 100
    sizes_of = {name: usage.resident(pid) for name, pid in session.crew.pids.items()}
    figures |= {f"resident_{name}_mb": max(found) / 1e6 for name, found in sizes_of.items() if found}
    figures["resident_largest_mb"] = max(max(found) for found in sizes_of.values() if found) / 1e6
    return figures
