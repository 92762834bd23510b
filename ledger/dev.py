"""`ledger dev`: the whole system in one terminal, from an empty directory to a running job.

Embedded servers are started where the settings name none, the database is migrated, and the API, the projector, the
scheduler and a worker run as the processes they are in production, their lines in one log. The parts are here one by
one, so that the demonstration puts the same ones together.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import click

from ledger import settings as settings_
from ledger.cli_config import imported
from ledger.cli_output import DIRECTORY, ExitCode, Failure, Installation, data, example
from ledger.dev_servers import open_servers
from ledger.runtime import processes
from ledger.runtime.processes import Crew, Ended, Lost, Order, Signalled

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ledger.dev_servers import Servers
    from ledger.settings import Settings

EXAMPLE_APP = "ledger.example:ledger"
READY_WITHIN = 60.0
_WITHOUT_SERVER = 2.0
"""Seconds to leave when a server is gone for good: nothing can be recorded any more."""
STOPPING_ORDER = ("worker", "scheduler", "projector", "api")
COLOURS = {"api": "cyan", "worker": "green", "scheduler": "magenta", "projector": "yellow", "dev": "bold"}


@click.command(epilog=example("ledger dev", "ledger dev myapp.jobs:ledger --port 8000"))
@click.argument("app", default=EXAMPLE_APP, metavar="[APP]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the API. [default: API_PORT, or a free one]")
def dev(app: str, port: int | None) -> None:
    """Run everything at once, for trying out and for development.

    APP is the application whose jobs are run, as module:name; without it a small
    example. Where DATABASE_URL or REDIS_URL is unset, a server of our own is used,
    with its data in .ledger/. Ctrl-C stops it all; the data stay.
    """
    settings = settings_.load(api_port=port)
    log = Log(as_json=settings_.environment().get("LOG_FORMAT") == "json")
    with open_servers(settings, DIRECTORY, log.say) as servers:
        installation = servers.installation
        migrate(installation)
        address = listen_address(settings, chosen=port is not None)
        crew = Crew(log.hear, environment(installation, address, log_format="json" if log.as_json else "console"))
        with crew.signals(signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            try:
                code = _run(crew, app, servers, address, log)
            finally:
                log.say("stopping")
                stop(crew)
                log.say("stopped")
    sys.exit(ExitCode.INTERRUPTED if crew.killed else code)


def migrate(installation: Installation) -> None:
    """Bring the database up to date, as a process of its own: the migrations are another room's."""
    env = environment(installation, ("127.0.0.1", 0))
    done = subprocess.run(command("db", "migrate"), env=env, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise Failure(f"the database cannot be migrated: {done.stderr.strip() or done.stdout.strip()}")


def command(*arguments: str) -> list[str]:
    """Return the command line that runs `ledger` with this very interpreter."""
    return [sys.executable, "-m", "ledger", *arguments]


def environment(
    installation: Installation, address: tuple[str, int], log_format: str = "console", **more: str
) -> dict[str, str]:
    """Return the environment of the service processes. Secrets are in it, and so in no command line."""
    # One port cannot serve several processes: each takes a free one, and says which.
    probes = {"PROBE_PORT": "0"} if installation.settings.probe_port is not None else {}
    colours = {"FORCE_COLOR": "1"} if sys.stdout.isatty() and "NO_COLOR" not in os.environ else {}
    return {
        **os.environ,
        **colours,
        **probes,
        "PYTHONUNBUFFERED": "1",
        "DATABASE_URL": installation.database_url,
        "REDIS_URL": installation.redis_url,
        "API_HOST": address[0],
        "API_PORT": str(address[1]),
        "LOG_FORMAT": log_format,
        **more,
    }


def listen_address(settings: Settings, *, chosen: bool) -> tuple[str, int]:
    """Return where the API is to listen: where it was told to, or, if nobody chose the port, at the next free one."""
    host, port = settings.api_host, settings.api_port
    if chosen or "API_PORT" in settings_.environment():
        return host, port or _free_port(host)
    return host, next((n for n in range(port, port + 100) if _is_free(host, n)), None) or _free_port(host)


def orders(app: str, settings: Settings) -> list[Order]:
    """Return the service processes in the order they are started."""
    patience = settings.worker_shutdown_timeout.total_seconds() + processes.PATIENCE
    return [
        Order("projector", command("projector")),
        Order("api", command("api")),
        Order("worker", command("worker", app, "--queues", ",".join(queues(app, settings))), patience),
        Order("scheduler", command("scheduler")),
    ]


def queues(app: str, settings: Settings) -> list[str]:
    """Return the queues to take from: those of the settings, and those that the application's own handlers name."""
    weighted = any(queue.weight for queue in settings.worker_queues)
    taken = {q.name: f"{q.name}:{q.weight}" if weighted else q.name for q in settings.worker_queues}
    named = sorted({handler.options.get("queue", "default") for handler in imported(app).handlers.values()})
    return [*taken.values(), *(f"{name}:1" if weighted else name for name in named if name not in taken)]


def stop(crew: Crew) -> None:
    """Stop the services: first who takes work, last who answers."""
    for role in STOPPING_ORDER:
        crew.stop(*(name for name in crew.pids if name.partition("-")[0] == role))
    crew.stop()


def ready(url: str) -> bool:
    """Whether the API behind this URL says that it is."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:  # noqa: S310 — our own URL
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


class Log:
    """One log for all processes: each line with the name of its process, or bare where lines are JSON."""

    def __init__(self, *, as_json: bool = False, console: Console | None = None) -> None:
        self.as_json = as_json
        self._console = console or data()
        self._lock = threading.Lock()

    def hear(self, name: str, line: str) -> None:
        from rich.text import Text  # noqa: PLC0415

        if not line.strip():
            return
        with self._lock:
            if self.as_json:
                click.echo(line)
            else:
                prefix = Text(f"{name:<9} │ ", style=COLOURS.get(name, "blue"))
                self._console.print(prefix + Text.from_ansi(line), soft_wrap=True)

    def say(self, message: str) -> None:
        self.hear("dev", json.dumps({"level": "info", "service": "dev", "event": message}) if self.as_json else message)

    def show(self, panel: RenderableType) -> None:
        with self._lock:
            if not self.as_json:
                self._console.print(panel, soft_wrap=False)


def _run(crew: Crew, app: str, servers: Servers, address: tuple[str, int], log: Log) -> int:
    installation = servers.installation
    url = f"http://{address[0]}:{address[1]}"
    *first, scheduler = orders(app, installation.settings)
    log.say("starting the API, the projector, the scheduler and a worker")
    for order in first:
        crew.start(order)
    news = _await_ready(crew, servers, url)
    if news is None:
        crew.start(scheduler)  # not before the read models it looks at are there
        log.show(_panel(url, app, installation))
        log.say(f"ready at {url}")
        while (news := _news(crew, servers, 1.0)) is None:
            pass
    if isinstance(news, Signalled):
        return ExitCode.DONE
    log.say(f"{news.in_words() if news else 'the API does not answer'}; everything is stopped")
    if isinstance(news, Lost):
        crew.stop(patience=_WITHOUT_SERVER)
    return ExitCode.ERROR


def _news(crew: Crew, servers: Servers, seconds: float) -> Ended | Signalled | Lost | None:
    """Wait so long for what ends it all, and start again what of our own has died."""
    news = crew.news(timeout=seconds)
    lost = servers.tend()  # also before all is stopped: what runs is still to be recorded
    return news if lost is None else Lost(lost)


def _await_ready(crew: Crew, servers: Servers, url: str) -> Ended | Signalled | Lost | None:
    """Wait until the API is ready; return what came instead, if anything did."""
    for _ in range(int(READY_WITHIN / 0.1)):
        if (news := _news(crew, servers, 0.1)) is not None:
            return news
        if ready(url):
            return None
    return Ended("api", ExitCode.ERROR)


def _panel(url: str, app: str, installation: Installation) -> RenderableType:
    from rich.panel import Panel  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    for name, value in _facts(url, app, installation).items():
        facts.add_row(name, value)
    return Panel(facts, title="[bold green]Ledger is running[/]", title_align="left", padding=(1, 2), expand=False)


def _facts(url: str, app: str, installation: Installation) -> dict[str, str]:
    settings = installation.settings
    embedded = settings.database_url is None or settings.redis_url is None
    facts = {
        "API": f"[bold]{url}/api/v1[/]",
        "Application": app,
        "Data": f"{DIRECTORY}/ (embedded servers)" if embedded else "on the servers of DATABASE_URL and REDIS_URL",
    }
    if app == EXAMPLE_APP:
        facts |= {
            "": "",
            "Try it": 'ledger job enqueue example.hello --payload \'{"name": "you"}\'',
            "or": (
                f"curl {url}/api/v1/jobs \\\n  -H 'Content-Type: application/json' \\\n"
                '  -d \'{"type": "example.hello", "payload": {"name": "you"}}\''
            ),
            "Then": "ledger job list, and ledger job events [dim]ID[/]",
        }
    return facts | {" ": "", "Stop": "Ctrl-C; what was recorded stays"}


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((host, port))
        except OSError:
            return False
        return True


def _free_port(host: str) -> int:
    with socket.socket() as candidate:
        candidate.bind((host, 0))
        return candidate.getsockname()[1]
