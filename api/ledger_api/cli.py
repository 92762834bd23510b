"""`ledger api`: the HTTP server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from ledger.api_keys import ApiKeys
from ledger.cli_output import Failure, connect, example
from ledger.errors import Unavailable
from ledger.runtime.database import Database
from ledger.settings import load
from ledger_api.middleware.browsers import is_loopback

if TYPE_CHECKING:
    from ledger.cli_output import Installation


@click.command(epilog=example("ledger api", "ledger api --host 0.0.0.0 --insecure"))
@click.option("--host", help="Listen address. [default: API_HOST]")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen port, 0 for a free one. [default: API_PORT]")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes. [default: API_WORKERS]")
@click.option("--threads", type=click.IntRange(1, 256), help="Threads in each. [default: API_THREADS]")
@click.option("--insecure", is_flag=True, help="Serve everybody who can reach the address while there are no keys.")
def api(host: str | None, port: int | None, workers: int | None, threads: int | None, *, insecure: bool) -> None:
    """Serve the HTTP API."""
    given: dict[str, Any] = {"api_host": host, "api_port": port, "api_workers": workers, "api_threads": threads}
    settings = load(**given)
    if not (settings.api_keys or insecure or is_loopback(settings.api_host)):
        _look_for_a_key(settings.api_host, given)
    _serve(connect(**given), insecure=insecure)


def _look_for_a_key(host: str, given: dict[str, Any]) -> None:
    """Refuse to start unless somebody has made a key: who cannot be asked for one would be let in."""
    try:
        installation = connect(**given)
        database = Database(installation.database_url, size=1)
        try:
            if ApiKeys(database).known().valid:
                return
        finally:
            database.close()
        why = "anybody who reaches it could do anything"
    except Unavailable as error:
        why = f"and whether there are other keys nobody can say ({error})"
    raise click.UsageError(
        f"refusing to serve on {host} without API_KEYS: {why}. Set API_KEYS, make a key with `ledger key create`, "
        "listen on 127.0.0.1, or add --insecure where the network is trusted"
    )


def _serve(installation: Installation, *, insecure: bool) -> None:
    import structlog  # noqa: PLC0415 — and below: the help page and a refused start need none of these

    from ledger.runtime import logs  # noqa: PLC0415
    from ledger.settings import warn_of_ignored  # noqa: PLC0415
    from ledger_api.server import Server, bind, shared_metrics  # noqa: PLC0415

    settings = installation.settings
    try:
        listener = bind(settings.api_host, settings.api_port)
    except OSError as error:
        raise Failure(f"cannot listen on {settings.api_host}:{settings.api_port}: {error.strerror or error}") from error
    logs.configure(settings, "api")
    warn_of_ignored()
    host, port = listener.getsockname()[:2]
    log = structlog.get_logger()
    log.info("listening", host=host, port=port, processes=settings.api_workers, pid=os.getpid())
    with shared_metrics():
        Server(lambda: application(installation, insecure=insecure), listener, settings).run()


def application(installation: Installation, *, insecure: bool = False) -> Any:
    from ledger_projections.queries import Queries  # noqa: PLC0415

    from ledger import Ledger  # noqa: PLC0415 — in the serving process, after the fork
    from ledger_api.app import create_app  # noqa: PLC0415

    settings = installation.settings
    ledger = Ledger(database_url=installation.database_url, redis_url=installation.redis_url, settings=settings)
    queries = Queries(ledger.database, silent_after=settings.scheduler_stale_job_timeout)
    return create_app(ledger, queries, settings, insecure=insecure)
