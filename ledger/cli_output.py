"""How every command of `ledger` speaks: data on stdout, words on stderr, errors as exit codes.

`emit` shows a resource as a table or as the very JSON the HTTP API would send; `connect` finds the servers. Rich and
the drivers are imported when first used: `ledger --help` answers at once.
"""

from __future__ import annotations

import getpass
import sys
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from ledger import errors
from ledger.cli_consoles import data, words
from ledger.cli_failures import ExitCode, Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType
    from rich.table import Table

    from ledger.runtime.embedded import EmbeddedPostgres, EmbeddedRedis
    from ledger.settings import Settings

    Render = Callable[[Any], RenderableType]

_C = TypeVar("_C", bound="Callable[..., Any]")

DIRECTORY = Path(".ledger")
"""Where `ledger dev` keeps the embedded servers, seen from the working directory."""

LISTS = "ledger.lists"
"""In a context's meta: the command shares its name with a service, but shows something and ends."""

STYLES = {
    "scheduled": "cyan",
    "ready": "blue",
    "enqueued": "blue",
    "running": "yellow",
    "leased": "yellow",
    "retrying": "magenta",
    "retried": "magenta",
    "failed": "red",
    "dead": "bold red",
    "dead_lettered": "bold red",
    "crashed": "bold red",
    "succeeded": "green",
    "cancelled": "dim",
    "discarded": "dim",
    "released": "dim",
    "snoozed": "cyan",
    "critical": "bold red",
    "high": "yellow",
    "low": "dim",
}
"""One colour for each state, kind and priority, the same in every table."""


def output_option(command: _C) -> _C:
    """Give a command `-o text|json|jsonl` and `--time-format`; the first is passed as `output`, for `emit`."""
    formats = click.option(
        "-o",
        "--output",
        type=click.Choice(["text", "json", "jsonl"]),
        default="text",
        show_default=True,
        help="Table, or the resource as JSON; jsonl: one a line.",
    )
    times = click.option(
        "--time-format",
        type=click.Choice(["relative", "iso"]),
        expose_value=False,
        callback=_remember_time_format,
        help="Times as `4m ago` or ISO. [default: relative on a terminal]",
    )
    return formats(times(command))


def emit(value: Any, output: str, render: Render) -> None:
    """Write a resource, or a list of them, to stdout: as JSON, or as `render` draws it."""
    if output != "text":
        emit_json(value, output)
        return
    console = data()
    if console.is_terminal:
        console.print(render(value))
        return
    with console.capture() as captured:
        console.print(render(value))
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def emit_json(value: Any, output: str) -> None:
    """Write a resource or a list of them as one JSON text, or as `jsonl`: each on a line of its own."""
    if output != "jsonl":
        click.echo(_json(value, indented=sys.stdout.isatty()))
        return
    for each in value if isinstance(value, list) else [value]:
        click.echo(_json(each, indented=False))


def changed(noun: str, name: object, past: str, resource: Any = None, output: str = "text") -> None:
    """Say what a change did, as in `job/0198… cancelled`, or give the changed resource as JSON."""
    if output != "text" and resource is not None:
        emit_json(resource, output)
    else:
        data().print(f"{noun}/{name} {past}", markup=False, highlight=False)


def agree(question: str, *, yes: bool) -> None:
    """Ask before a bulk change. Without a terminal only `--yes` is an answer; a no ends the command."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(f"{question} Nothing was changed; add --yes to do it without being asked", ExitCode.USAGE)
    if not click.confirm(question, err=True):
        raise Failure("nothing was changed")


def not_found(message: str) -> NoReturn:
    raise Failure(message, ExitCode.NOT_FOUND)


def say(message: str, style: str | None = None) -> None:
    """Write words for people to stderr; a long line is left to the terminal, so that what is copied stays whole."""
    words().print(message, style=style, markup=False, highlight=False, soft_wrap=True)


def example(*lines: str) -> str:
    """Return the epilog of a command: `@click.command(epilog=example("ledger job get 0198…"))`."""
    return "\n".join(("\b", "Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)))


WHOLE = {"ID", "Setting", "From", "State", "Priority", "Status", "Projection", "Examined", "Created", "Started", "Died",
         "Heartbeat", "Next run", "Last run", "Oldest ready"}  # fmt: skip
"""Columns whose values are not broken, for they are short or are copied. Numbers are not, either."""


def table(*columns: str, right: tuple[str, ...] = (), less: tuple[str, ...] = ()) -> Table:
    """Return an empty table in the house style; `right` names the columns of numbers, `less` those that matter less."""
    from rich import box  # noqa: PLC0415 — see the module's docstring

    from ledger.cli_tables import FittingTable  # noqa: PLC0415

    drawn: dict[str, Any] = {"box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0)} if sys.stdout.isatty() else {"box": None}
    made = FittingTable(header_style="bold", pad_edge=False, less=less, **drawn)
    for column in columns:
        justify = "right" if column in right else "left"
        made.add_column(column, justify=justify, overflow="fold", no_wrap=column in right or column in WHOLE)
    return made


def coloured(word: object) -> str:
    """Return a state, kind or priority in its colour, as rich markup."""
    text = "–" if word is None else str(word)
    style = STYLES.get(text)
    return f"[{style}]{text}[/]" if style else plain(text)


def plain(value: object) -> str:
    """Return a value as rich markup that shows it as it is; `–` stands for none."""
    from rich.markup import escape  # noqa: PLC0415

    return "–" if value is None else escape(str(value))


def when(at: datetime | str | None) -> str:
    """Return an instant for a table: `4m ago` or `in 2h` on a terminal, ISO elsewhere or where asked for."""
    if at is None:
        return "–"
    from ledger.codec import rfc3339  # noqa: PLC0415

    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return _relative(moment) if _time_format() == "relative" else rfc3339(moment)


@dataclass(frozen=True, slots=True)
class Installation:
    """The settings of this command and the servers it talks to."""

    settings: Settings
    database_url: str
    redis_url_given: str | None
    directory: Path = DIRECTORY

    @property
    def redis_url(self) -> str:
        """Where Redis is; not every command asks. Raises Unavailable where nothing is set and nothing runs."""
        if self.redis_url_given is not None:
            return self.redis_url_given
        from ledger.runtime.embedded import EmbeddedRedis  # noqa: PLC0415 — see the module's docstring

        return _embedded(EmbeddedRedis(self.directory), "REDIS_URL")

    @property
    def actor(self) -> str:
        return actor()


def connect(directory: Path = DIRECTORY, **given: Any) -> Installation:
    """Return where Postgres and Redis are: as set, else the running embedded servers of `directory`.

    `given` overrides settings, as `ledger.settings.load` does. Raise Unavailable where nothing is set and nothing runs.
    """
    here = connect_postgres(directory, **given)
    return replace(here, redis_url_given=here.redis_url)


def connect_postgres(directory: Path = DIRECTORY, **given: Any) -> Installation:
    """Do the same for a command that needs no Redis, or not at once: it is looked for when it is asked for."""
    from ledger.settings import load  # noqa: PLC0415

    settings = load(**given)
    database_url = settings.database_url
    if database_url is None:
        from ledger.runtime.embedded import EmbeddedPostgres  # noqa: PLC0415

        database_url = _embedded(EmbeddedPostgres(directory), "DATABASE_URL")
    return Installation(settings, database_url, settings.redis_url, directory)


def actor() -> str:
    """Return who acts, as events record it: `cli:<user>`."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user without a name
        return "cli:unknown"


def _embedded(server: EmbeddedPostgres | EmbeddedRedis, variable: str) -> str:
    # found() connects; where nothing was ever started there is nothing to ask.
    found = server.found() if server.directory.is_dir() else None
    if found is None:
        problem = f"{variable} is not set and no embedded server runs in {server.directory}"
        raise errors.Unavailable(f"{problem}; start them with `ledger dev` or set {variable}")
    return found.url


def _json(value: Any, *, indented: bool) -> str:
    import msgspec  # noqa: PLC0415
    import orjson  # noqa: PLC0415

    layout = orjson.OPT_INDENT_2 if indented else 0
    return orjson.dumps(value, default=msgspec.to_builtins, option=layout).decode()


def _remember_time_format(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    del parameter
    context.meta["ledger.time_format"] = value


def _time_format() -> str:
    context = click.get_current_context(silent=True)
    chosen = context.meta.get("ledger.time_format") if context is not None else None
    return chosen or ("relative" if sys.stdout.isatty() else "iso")


def _relative(at: datetime) -> str:
    from ledger.durations import in_words  # noqa: PLC0415
    from ledger.runtime.clock import SystemClock  # noqa: PLC0415

    past = SystemClock().now() - at
    return f"{in_words(past)} ago" if past.total_seconds() >= 0 else f"in {in_words(-past)}"
