"""Opening the probes of a service: on PROBE_PORT, at the address that API_HOST names."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ledger.cli_output import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from ledger.cli_output import Installation
    from ledger.runtime.database import Database
    from ledger.runtime.probes import Vitals
    from ledger.runtime.service import Loop
    from ledger.settings import Settings


@contextmanager
def probed(settings: Settings, vitals: Callable[[], Vitals]) -> Generator[None]:
    """Answer probes within the block, where PROBE_PORT is set; a port that cannot be had ends the command."""
    if settings.probe_port is None:
        yield
        return
    from ledger.runtime.probes import Probes  # noqa: PLC0415 — most services serve none

    try:
        probes = Probes(settings.api_host, settings.probe_port, vitals())
    except OSError as error:
        place = f"{settings.api_host}:{settings.probe_port}"
        raise Failure(f"cannot listen for probes on {place}: {error.strerror or error}; change PROBE_PORT") from error
    with probes:
        yield


def vitals_of_loops(
    here: Installation,
    database: Database,
    loops: Sequence[Loop],
    newest_schema: Callable[[], str],
    metrics: Callable[[], bytes],
) -> Vitals:
    """Return what a process of loops can say of itself: it is alive as long as they turn."""
    from ledger.readiness import Readiness, is_ready  # noqa: PLC0415
    from ledger.runtime.probes import Vitals  # noqa: PLC0415
    from ledger.runtime.service import standing_still  # noqa: PLC0415

    readiness = Readiness(database, here.redis_url, newest_schema)
    return Vitals(lambda: standing_still(loops), readiness.checks, is_ready, metrics)
