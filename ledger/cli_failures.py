"""How a command ends badly: `reported` is the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import click

from ledger import errors
from ledger.cli_consoles import words

if TYPE_CHECKING:
    from collections.abc import Generator


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
