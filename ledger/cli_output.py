"""How every command of `ledger` speaks: data on stdout, words on stderr, errors as exit codes.

`emit` shows a resource as a table or as the very JSON the HTTP API would send; `connect` finds the servers; `reported`
is the one place where an error becomes a message and an exit code. Rich and the drivers are imported when first used:
`ledger --help` answers at once.
"""

from __future__ import annotations

import getpass
import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from ledger import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rich.console import Console, RenderableType
    from rich.table import Table

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


class ExitCode(IntEnum):
    """What a script may rely on."""

    DONE = 0
    ERROR = 1
    """Also: `verify` found differences, `doctor` a failing check."""
    USAGE = 2
    """Wrong usage, or a value that is not allowed."""
    NOT_FOUND = 3
    CONFLICT = 4
    """Not allowed in the present state, or a part of a bulk was refused."""
    UNAVAILABLE = 5
    """Postgres or Redis cannot be reached."""
    INTERRUPTED = 130


class Failure(click.ClickException):
    """The end of a command that did not do what it was asked: a message for stderr and an exit code."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.ERROR) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # pyright: ignore[reportAttributeAccessIssue] — click reads it from the instance
        self.as_json = False
        """For services whose every line is JSON."""

    def show(self, file: Any = None) -> None:
        del file
        if self.as_json:
            click.echo(json.dumps({"level": "error", "event": self.message, "exit_code": self.exit_code}), err=True)
            return
        console = words()
        console.print("error: ", style="bold red", end="")
        console.print(self.message, markup=False, highlight=False)


_CODES: tuple[tuple[type[errors.LedgerError], ExitCode], ...] = (
    (errors.InvalidRequest, ExitCode.USAGE),
    (errors.InvalidSettings, ExitCode.USAGE),
    (errors.JobNotFound, ExitCode.NOT_FOUND),
    (errors.ScheduleNotFound, ExitCode.NOT_FOUND),
    (errors.CommandRefused, ExitCode.CONFLICT),
    (errors.VersionConflict, ExitCode.CONFLICT),
    (errors.ScheduleExists, ExitCode.CONFLICT),
    (errors.ScheduleChanged, ExitCode.CONFLICT),
    (errors.ScheduleInCode, ExitCode.CONFLICT),
    (errors.ScheduleZoneUnknown, ExitCode.CONFLICT),
    (errors.IdempotencyConflict, ExitCode.CONFLICT),
    (errors.IdempotencyKeyInUse, ExitCode.CONFLICT),
    (errors.Unavailable, ExitCode.UNAVAILABLE),
)


@contextmanager
def reported() -> Generator[None]:
    """Turn what a command raises into a message and an exit code; the `ledger` group holds it around every command."""
    try:
        yield
    except (errors.LedgerError, KeyboardInterrupt) as error:
        raise failure_of(error) from error
    except Exception as error:
        if (failure := _driver_failure(error)) is not None:
            raise failure from error
        raise


def failure_of(error: BaseException) -> Failure:
    """Return how a deliberate error or Ctrl-C ends a command."""
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted", ExitCode.INTERRUPTED)
    code = next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.ERROR)
    return Failure(_all_breaches(error) if isinstance(error, errors.InvalidRequest) else str(error), code)


def _all_breaches(error: errors.InvalidRequest) -> str:
    lines = [f"{breach.pointer.lstrip('/') or 'request'}: {breach.detail}" for breach in error.breaches]
    return lines[0] if len(lines) == 1 else "\n  ".join((f"{len(lines)} values are not allowed", *lines))


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


def data() -> Console:
    """Return a console on stdout. Not on a terminal: no colour, and no line is cut."""
    return _console(stderr=False)


def words() -> Console:
    """Return a console on stderr, for messages and progress."""
    return _console(stderr=True)


UNBOUNDED = 100_000
"""The width of a pipe: a row is a line, however long."""

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
    redis_url: str

    @property
    def actor(self) -> str:
        return actor()


def connect(directory: Path = DIRECTORY, **given: Any) -> Installation:
    """Return where Postgres and Redis are: as set, else the running embedded servers of `directory`.

    `given` overrides settings, as `ledger.settings.load` does. Raise Unavailable where nothing is set and nothing runs.
    """
    from ledger.settings import load  # noqa: PLC0415

    settings = load(**given)
    database_url, redis_url = settings.database_url, settings.redis_url
    if database_url is None or redis_url is None:
        from ledger.runtime.embedded import EmbeddedPostgres, EmbeddedRedis  # noqa: PLC0415

        database_url = database_url or _embedded(EmbeddedPostgres(directory), "DATABASE_URL")
        redis_url = redis_url or _embedded(EmbeddedRedis(directory), "REDIS_URL")
    return Installation(settings, database_url, redis_url)


def actor() -> str:
    """Return who acts, as events record it: `cli:<user>`."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user without a name
        return "cli:unknown"


def _embedded(server: Any, variable: str) -> str:
    # found() connects; where nothing was ever started there is nothing to ask.
    found = server.found() if server.directory.is_dir() else None
    if found is None:
        problem = f"{variable} is not set and no embedded server runs in {server.directory}"
        raise errors.Unavailable(f"{problem}; start them with `ledger dev` or set {variable}")
    return found.url


def _driver_failure(error: Exception) -> Failure | None:
    """Explain a driver's error that nobody translated; None where it is a bug of ours."""
    psycopg, redis = sys.modules.get("psycopg"), sys.modules.get("redis")
    if psycopg is not None and isinstance(error, (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName)):
        return Failure(f"the database is not up to date ({_first_line(error)}); run `ledger db migrate`")
    if psycopg is not None and isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return Failure(f"Postgres cannot be used: {_first_line(error)}", ExitCode.UNAVAILABLE)
    if redis is not None and isinstance(error, (redis.ConnectionError, redis.TimeoutError)):
        return Failure(f"Redis cannot be used: {_first_line(error)}", ExitCode.UNAVAILABLE)
    return None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _json(value: Any, *, indented: bool) -> str:
    import msgspec  # noqa: PLC0415
    import orjson  # noqa: PLC0415

    layout = orjson.OPT_INDENT_2 if indented else 0
    return orjson.dumps(value, default=msgspec.to_builtins, option=layout).decode()


def _console(*, stderr: bool) -> Console:
    from rich.console import Console  # noqa: PLC0415

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else UNBOUNDED
    return Console(stderr=stderr, highlight=False, width=width, soft_wrap=not stream.isatty(), emoji=False)


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
