"""Background jobs whose single source of truth is an append-only event log in Postgres.

What an application needs is here: `Ledger` with its decorator and verbs, `Job` for handlers that want to know about
their run, and what a handler may answer: `Retry`, `Permanent`, `Snooze`, `Cancel`. Running jobs, reading views and
serving HTTP are other packages of this distribution; this one imports none of them.

The names are loaded when they are first used, so that `ledger --help` need not wait for the drivers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledger.client import Ledger
    from ledger.errors import (
        CommandRefused,
        IdempotencyConflict,
        InvalidRequest,
        JobNotFound,
        LeaseLost,
        LedgerError,
        Unavailable,
        UnknownType,
        VersionConflict,
    )
    from ledger.handlers import Job, Token
    from ledger.outcomes import Cancel, Permanent, Retry, Snooze

__all__ = [
    "Cancel",
    "CommandRefused",
    "IdempotencyConflict",
    "InvalidRequest",
    "Job",
    "JobNotFound",
    "LeaseLost",
    "Ledger",
    "LedgerError",
    "Permanent",
    "Retry",
    "Snooze",
    "Token",
    "Unavailable",
    "UnknownType",
    "VersionConflict",
]

_HOMES = {
    "Cancel": "outcomes",
    "Job": "handlers",
    "Ledger": "client",
    "Permanent": "outcomes",
    "Retry": "outcomes",
    "Snooze": "outcomes",
    "Token": "handlers",
}
"""Where the names are that are no errors."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'ledger' has no attribute {name!r}")
    value = getattr(import_module(f"ledger.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
