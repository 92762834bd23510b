"""`ledger mcp`: the MCP server as a command."""

from __future__ import annotations

import sys

import click

from ledger.cli_output import Failure, example

MISSING = "the MCP server needs its SDK; install it with: pip install 'jobledger[mcp]'"


@click.command(epilog=example("ledger mcp", "ledger mcp --read-only"))
@click.option("--read-only", is_flag=True, help="Offer only the tools that change nothing.")
def mcp(*, read_only: bool) -> None:
    """Serve AI assistants over stdio.

    Speaks the Model Context Protocol on stdin and stdout until they are closed.
    """
    try:
        from ledger_api.mcp.server import serve  # noqa: PLC0415 — and below: an extra, and help needs none of these
    except ModuleNotFoundError as error:
        raise Failure(f"{error}: {MISSING}") from error
    from ledger.runtime import logs  # noqa: PLC0415
    from ledger.settings import load, warn_of_ignored  # noqa: PLC0415
    from ledger_api.mcp.application import OwnApi  # noqa: PLC0415
    from ledger_api.mcp.calls import Calls  # noqa: PLC0415

    logs.configure(load(), "mcp")
    warn_of_ignored()
    if sys.stdin.isatty():
        click.echo("Waiting for an MCP client on stdin; Ctrl-C ends.", err=True)
    serve(Calls(OwnApi()), read_only=read_only)
