"""Opening the probes of a service: on PROBE_PORT, at the address that API_HOST names."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ledger.cli_output import Failure

if TYPE_CHECKING:
    from collections.abc import Generator

    from ledger.runtime.probes import Vitals
    from ledger.settings import Settings


@contextmanager
def probed(settings: Settings, vitals: Vitals) -> Generator[None]:
    """Answer probes within the block, where PROBE_PORT is set; a port that cannot be had ends the command."""
    from ledger.runtime.probes import Probes  # noqa: PLC0415 — most commands serve none

    if settings.probe_port is None:
        yield
        return
    try:
        probes = Probes(settings.api_host, settings.probe_port, vitals)
    except OSError as error:
        place = f"{settings.api_host}:{settings.probe_port}"
        raise Failure(f"cannot listen for probes on {place}: {error.strerror or error}; change PROBE_PORT") from error
    with probes:
        yield
