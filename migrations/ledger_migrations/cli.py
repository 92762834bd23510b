"""`ledger db`: bring the database to the newest schema, or see how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ledger.cli_output import ExitCode, connect_postgres, emit, example, output_option, say, table

if TYPE_CHECKING:
    from rich.table import Table


@click.group()
def db() -> None:
    """Migrate the database."""


@db.command(epilog=example("ledger db migrate"))
@output_option
def migrate(output: str) -> None:
    """Bring the database to the newest schema; safe to run by many at once."""
    from ledger_migrations import migrate as migrations  # noqa: PLC0415 — Alembic takes a second to import

    before, now = migrations.migrate(connect_postgres().database_url)
    say(
        f"the database is at {now} already" if before == now else f"migrated from {before or 'empty'} to {now}", "green"
    )
    if output != "text":
        emit({"revision": now, "newest": now, "up_to_date": True}, output, _render)


@db.command(epilog=example("ledger db status"))
@output_option
@click.pass_context
def status(context: click.Context, output: str) -> None:
    """Show the schema's revision; exit code 1 when it is not the newest."""
    from ledger_migrations import migrate as migrations  # noqa: PLC0415

    now, newest = migrations.status(connect_postgres().database_url)
    emit({"revision": now, "newest": newest, "up_to_date": now == newest}, output, _render)
    if now != newest:
        say("run `ledger db migrate`", "yellow")
        context.exit(ExitCode.ERROR)


def _render(state: dict[str, object]) -> Table:
    rows = table("Revision", "Newest", "Up to date")
    rows.add_row(str(state["revision"] or "none"), str(state["newest"]), "yes" if state["up_to_date"] else "no")
    return rows
