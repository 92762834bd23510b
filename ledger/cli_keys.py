"""`ledger key`: keys of the HTTP API, made, listed and revoked. A secret is shown once, when its key is made.

To replace a secret, make another key of the same name, hand that out, and revoke the first by its id.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from ledger import settings
from ledger.cli_group import RoomGroup
from ledger.cli_output import (
    ExitCode,
    Failure,
    actor,
    changed,
    connect_postgres,
    data,
    emit,
    example,
    not_found,
    output_option,
    plain,
    say,
    table,
    when,
)
from ledger.durations import parse

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.table import Table

    from ledger.api_keys import ApiKeys, StoredKey
    from ledger.resources import Resource

KEY_ID = "019f7c3e-5a10-7000-8000-000000000000"

_DAYS = re.compile(r"([0-9]{1,5})d", re.ASCII)


@click.group(cls=RoomGroup, prefix="key.")
def key() -> None:
    """Make, list and revoke keys of the HTTP API."""


@key.command(
    epilog=example("ledger key create deploy --scope write", "ledger key create ci --scope read --expires 90d")
)
@click.argument("name")
@click.option("--scope", type=click.Choice(settings.SCOPES), required=True, help="What it may do; each has the former.")
@click.option("--expires", metavar="WHEN", help="After 90d or 12h, or at a time, RFC 3339.  [default: never]")
@output_option
def create(name: str, scope: str, expires: str | None, output: str) -> None:
    """Make a key and show its secret, this once.

    The name is what events say of whoever uses the key. Another key may have it
    already: then both are good, until one is revoked.
    """
    end = None if expires is None else _end(expires)
    with _keys() as keys:
        made, secret = keys.create(name, scope, actor=actor(), expires=end)
    if output != "text":
        emit(_resource(made) | {"secret": secret}, output, str)
    else:
        data().print(secret, markup=False, highlight=False)
    until = "" if made.expires_at is None else f", good until {when(made.expires_at)}"
    say(f"key/{name} created with scope {scope}{until}; its secret is not kept and cannot be shown again")


@key.command("list", epilog=example("ledger key list"))
@output_option
def list_keys(output: str) -> None:
    """List the keys made here; those of API_KEYS are in `ledger config show`."""
    with _keys() as keys:
        emit([_resource(each) for each in keys.list_keys()], output, _table)


@key.command(epilog=example("ledger key revoke deploy", f"ledger key revoke {KEY_ID}"))
@click.argument("name_or_id", metavar="NAME|ID")
@click.option("--all", "every", is_flag=True, help="All keys of this name.")
@click.option("--reason", help="Kept in the audit.")
@output_option
def revoke(name_or_id: str, every: bool, reason: str | None, output: str) -> None:
    """Make a key good for nothing, within two seconds."""
    with _keys() as keys:
        chosen = _chosen(keys.list_keys(), name_or_id, every=every)
        keys.revoke([each.id for each in chosen], actor=actor(), reason=reason)
        ids = {each.id for each in chosen}
        now = [_resource(each) for each in keys.list_keys() if each.id in ids]
    changed("key", name_or_id, "revoked", now if every else now[0], output)


def _chosen(keys: list[StoredKey], name_or_id: str, *, every: bool) -> list[StoredKey]:
    """Return the keys that are meant. One that is revoked already will do, where no other can be meant."""
    found = [each for each in keys if name_or_id in (each.name, str(each.id))]
    if not found:
        not_found(f"key not found: {name_or_id}; `ledger key list` shows which there are")
    good = [each for each in found if each.state == "valid"]
    if every or len(found) == 1:
        return found
    if len(good) > 1:
        listed = ", ".join(str(each.id) for each in good)
        raise Failure(
            f"{len(good)} valid keys are called {name_or_id}: name one by its id ({listed}), or add --all",
            ExitCode.CONFLICT,
        )
    return good or found[-1:]


def _end(text: str) -> datetime | timedelta:
    from ledger.requests import instant  # noqa: PLC0415 — and below: `--help` needs no drivers

    if days := _DAYS.fullmatch(text):
        return timedelta(days=int(days[1]))
    try:
        return parse(text)
    except ValueError:
        pass
    try:
        return instant(text)
    except ValueError:
        raise click.BadParameter(
            "must be a duration such as 90d or 12h, or a time such as 2027-01-01T00:00:00Z", param_hint="--expires"
        ) from None


@contextmanager
def _keys() -> Generator[ApiKeys]:
    from ledger.api_keys import ApiKeys  # noqa: PLC0415
    from ledger.runtime.database import Database  # noqa: PLC0415

    database = Database(connect_postgres().database_url, size=1)
    try:
        yield ApiKeys(database)
    finally:
        database.close()


def _resource(found: StoredKey) -> Resource:
    from ledger.resources import time  # noqa: PLC0415

    return {
        "id": str(found.id),
        "name": found.name,
        "scope": found.scope,
        "state": found.state,
        "created_at": time(found.created_at),
        "created_by": found.created_by,
        "expires_at": time(found.expires_at),
        "revoked_at": time(found.revoked_at),
    }


def _table(keys: list[Resource]) -> Table:
    names = ("ID", "Name", "Scope", "State", "Created", "By", "Expires", "Revoked")
    rows = table(*names, less=("By", "Created", "Revoked", "Scope"))
    for each in keys:
        words = (each["id"], each["name"], each["scope"], each["state"])
        times = (when(each["created_at"]), each["created_by"], when(each["expires_at"]), when(each["revoked_at"]))
        rows.add_row(*map(plain, (*words, *times)), style="" if each["state"] == "valid" else "dim")
    return rows
