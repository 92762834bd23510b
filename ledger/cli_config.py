"""`ledger config show` and `ledger check`: what the processes would go by, without asking any server."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from traceback import walk_tb
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from ledger import settings as settings_
from ledger.cli_output import Failure, data, emit, emit_json, example, output_option, plain, say, table
from ledger.durations import spelled
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from ledger.settings import Settings

MASK = "•••"

_PASSWORD = re.compile(r"((?:^|&)[^=&]*passw[^=&]*=)[^&]*", re.IGNORECASE)


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
    """Return a URL without its passwords, which may be parameters, too.

    >>> masked("postgresql://app:secret@db:5432/app")
    'postgresql://app:•••@db:5432/app'
    >>> masked("postgresql://db/app?user=app&password=secret")
    'postgresql://db/app?user=app&password=•••'
    """
    parts = urlsplit(url)
    query = _PASSWORD.sub(rf"\1{MASK}", parts.query)
    netloc = parts.netloc
    if parts.password is not None:
        netloc = f"{parts.username or ''}:{MASK}@{netloc.rpartition('@')[2]}"
    return parts._replace(netloc=netloc, query=query).geturl()


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
@output_option
def check(app: str | None, output: str) -> None:
    """Check settings and imports without any server.

    For deploys. With APP, as module:name, the application is imported too, and its
    job types and the schedules that it defines are listed.
    """
    settings = settings_.load()
    warnings = settings_.ignored(settings_.environment())
    found: dict[str, Any] = {"settings": "ok", "warnings": warnings, "application": None}
    if output == "text":
        data().print("settings  ok", highlight=False)
    if app is not None:
        ledger = imported(app)
        found["application"] = _application(app, ledger, settings)
        warnings += _untaken(ledger, settings)
    for advice in warnings:
        say(f"warning: {advice}", "yellow")
    if output != "text":
        emit_json(found, output)
    elif app is not None:
        data().print(_contents(found["application"]))


def imported(app: str) -> Any:
    """Return the Ledger that `module:name` means, as seen from the working directory."""
    import sys  # noqa: PLC0415
    from importlib import import_module  # noqa: PLC0415

    from ledger.client import Ledger  # noqa: PLC0415

    module, _, name = app.partition(":")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 — as `python -m` does
    try:
        found = getattr(import_module(module), name or "ledger")
    except LedgerError:
        raise
    except Exception as error:
        raise Failure(f"{app} cannot be imported: {_trouble(error)}") from error
    if not isinstance(found, Ledger):
        raise Failure(f"{app} is a {type(found).__name__}, not a Ledger")
    return found


def _trouble(error: Exception) -> str:
    """Say what went wrong, and where in the user's code."""
    if isinstance(error, ModuleNotFoundError | AttributeError):
        return str(error)
    *_, (frame, line) = walk_tb(error.__traceback__)
    return f"{type(error).__name__}: {error} (line {line} of {frame.f_code.co_filename})"


def _application(app: str, ledger: Any, settings: Settings) -> dict[str, Any]:
    """Return what an application knows and defines; raise InvalidRequest for a schedule that is not allowed here."""
    definitions = (schedule.definition(settings) for schedule in ledger.schedules.values())
    schedules = [
        {name: getattr(each, name) for name in ("name", "job_type", "cron_expression", "timezone")}
        for each in definitions
    ]
    return {"name": app, "job_types": sorted(ledger.handlers), "schedules": schedules}


def _untaken(ledger: Any, settings: Settings) -> list[str]:
    """Return which queues the handlers name that no worker with these settings would take."""
    taken = {queue.name for queue in settings.worker_queues}
    named = {type_: handler.options.get("queue", "default") for type_, handler in sorted(ledger.handlers.items())}
    return [
        f"WORKER_QUEUES does not name queue {queue}, where {type_} jobs go"
        for type_, queue in named.items()
        if queue not in taken
    ]


def _contents(application: Mapping[str, Any]) -> str:
    types, schedules = application["job_types"], application["schedules"]
    lines = [f"{application['name']}  {_counted(len(types), 'job type')}: {', '.join(types)}"]
    lines += [f"{application['name']}  {_counted(len(schedules), 'schedule')}:"] if schedules else []
    lines += [
        f"  {each['name']}  {each['cron_expression']}  {each['timezone']}  {each['job_type']}" for each in schedules
    ]
    return plain("\n".join(lines))


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _shown(name: str, value: Any) -> str | None:
    match value:
        case None | ():
            return None
        case timedelta():
            return spelled(value)
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
