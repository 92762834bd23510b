"""`ledger config show` and `ledger check`: what the processes would go by, without asking any server."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from ledger import settings as settings_
from ledger.cli_output import Failure, data, emit, example, output_option, plain, say, table
from ledger.durations import in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

MASK = "•••"


@dataclass(frozen=True, slots=True)
class Source:
    """One setting: its value as people may see it, and where it comes from."""

    name: str
    value: str | None
    source: str
    meaning: str


def sources() -> list[Source]:
    """Return every setting with its origin; raise InvalidSettings for nonsense."""
    loaded = settings_.load()
    merged = settings_.environment()
    found: list[Source] = []
    for variable in settings_.VARIABLES:
        origin = "environment" if variable.name in os.environ else ".env" if variable.name in merged else "default"
        value = getattr(loaded, variable.name.lower())
        found.append(Source(variable.name, _shown(variable.name, value), origin, variable.meaning))
    return found


def masked(url: str) -> str:
    """Return a URL without its password.

    >>> masked("postgresql://app:secret@db:5432/app")
    'postgresql://app:•••@db:5432/app'
    """
    parts = urlsplit(url)
    if parts.password is None:
        return url
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username or ''}:{MASK}@{place}").geturl()


@click.group()
def config() -> None:
    """Show the settings and where each comes from."""


@config.command(epilog=example("ledger config show", "ledger config show -o json"))
@output_option
def show(output: str) -> None:
    """Show every setting, its value and its source; secrets are masked."""
    found = [
        {"name": each.name, "value": each.value, "source": each.source, "meaning": each.meaning} for each in sources()
    ]
    emit(found, output, _render)


@click.command(epilog=example("ledger check", "ledger check myapp.jobs:ledger"))
@click.argument("app", required=False)
def check(app: str | None) -> None:
    """Check settings and imports without any server.

    For deploys. With APP, as module:name, the application is imported too and its
    types are listed.
    """
    settings_.load()
    data().print("settings  ok", highlight=False)
    for advice in settings_.ignored(settings_.environment()):
        say(f"warning: {advice}", "yellow")
    if app is not None:
        types = sorted(imported(app).handlers)
        data().print(f"{app}  {len(types)} job types: {', '.join(types)}", markup=False, highlight=False)


def imported(app: str) -> Any:
    """Return the Ledger that `module:name` means, as seen from the working directory."""
    import sys  # noqa: PLC0415
    from importlib import import_module  # noqa: PLC0415

    from ledger.client import Ledger  # noqa: PLC0415

    module, _, name = app.partition(":")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 — as `python -m` does
    try:
        found = getattr(import_module(module), name or "ledger")
    except (ImportError, AttributeError) as error:
        raise Failure(f"{app} cannot be imported: {error}") from error
    if not isinstance(found, Ledger):
        raise Failure(f"{app} is a {type(found).__name__}, not a Ledger")
    return found


def _shown(name: str, value: Any) -> str | None:
    match value:
        case None | ():
            return None
        case timedelta():
            return in_words(value)
        case tuple():
            return _in_list(name, value)
        case str() if name.endswith("_URL"):
            return masked(value)
        case _:
            return str(value)


def _in_list(name: str, values: Sequence[Any]) -> str:
    if name == "WORKER_QUEUES":
        return ",".join(queue.name if queue.weight is None else f"{queue.name}:{queue.weight}" for queue in values)
    return ",".join(f"{key.name}:{key.scope}:{MASK}" for key in values)


def _render(found: list[dict[str, str | None]]) -> Table:
    rows = table("Setting", "Value", "From", "Meaning")
    for each in found:
        style = "dim" if each["source"] == "default" else ""
        value = "[dim]not set[/]" if each["value"] is None else plain(each["value"])
        rows.add_row(
            plain(each["name"]), value, plain(each["source"]), f"[dim]{plain(each['meaning'])}[/]", style=style
        )
    return rows
