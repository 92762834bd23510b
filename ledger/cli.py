"""The `ledger` command: a group that finds its commands by name and imports a room only when one of them is run.

The commands of this room are named here; every other room, and any package of a user, adds its own by the entry point
group `ledger.commands`. The help page must not import them, so it takes their summaries from `SUMMARIES`; a test
compares these with what the commands themselves say.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import click

from ledger.cli_failures import ExitCode, Failure, reported
from ledger.cli_group import RoomGroup
from ledger.cli_output import LISTS, example
from ledger.errors import InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

OWN = {
    "check": "ledger.cli_config:check",
    "completion": "ledger.completion:completion",
    "config": "ledger.cli_config:config",
    "dev": "ledger.dev:dev",
    "doctor": "ledger.doctor:doctor",
    "job": "ledger.cli_jobs:job",
    "key": "ledger.cli_keys:key",
}

SUMMARIES: dict[str, dict[str, str]] = {
    "Start here": {
        "dev": "Run everything at once, for trying out and for development.",
    },
    "Services": {
        "api": "Serve the HTTP API.",
        "worker": "Run the jobs of an application.",
        "scheduler": "Do what is due: delays, retries, schedules, expiry, silent workers, retention.",
        "projector": "Keep the read models and the dispatch streams up to date.",
        "mcp": "Serve AI assistants over stdio.",
    },
    "Look and act": {
        "job": "Enqueue jobs, see what happened to them, change their course.",
        "queue": "See how the queues are doing; pause and resume them.",
        "dlq": "See dead letters; retry or discard them.",
        "schedule": "Have jobs enqueued by cron expressions.",
        "execution": "See the attempts: which run, where, how long.",
        "projection": "See how far behind each read model is.",
        "stats": "See the numbers of the last day.",
    },
    "Look after": {
        "doctor": "Examine the installation and say what to mend.",
        "verify": "Compare the read models and Redis with the log.",
        "rebuild-projections": "Build read models afresh from the log.",
        "db": "Migrate the database.",
        "key": "Make, list and revoke keys of the HTTP API.",
        "config": "Show the settings and where each comes from.",
        "check": "Check settings and imports without any server.",
        "completion": "Print the script that lets a shell complete commands.",
        "import": "Take over the data of another system.",
    },
}


class LedgerGroup(RoomGroup):
    """The root: errors become exit codes here, around all commands; the help page loads none of them."""

    def invoke(self, ctx: click.Context) -> Any:
        # What the drivers log on the way to an error that is reported anyway; services set up logging of their own.
        logging.getLogger("psycopg").addHandler(logging.NullHandler())
        try:
            with reported():
                return super().invoke(ctx)
        except click.Abort:  # Ctrl-C or end of input at a question
            click.echo(err=True)  # the answer's line was not ended
            raise Failure("interrupted", ExitCode.INTERRUPTED) from None
        except click.ClickException as error:
            if not _speaks_json(ctx):
                raise
            failure = Failure(error.format_message(), ExitCode(error.exit_code))
            failure.as_json = True
            raise failure from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        present = set(self.list_commands(ctx))
        for title, summaries in SUMMARIES.items():
            _write_section(formatter, title, [(n, s) for n, s in summaries.items() if n in present])
            present -= summaries.keys()
        _write_section(formatter, "From other packages", [(name, "") for name in sorted(present)])


@click.group(
    cls=LedgerGroup,
    own=OWN,
    epilog=example("ledger dev", 'ledger job enqueue example.hello --payload \'{"name": "you"}\''),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(message="%(version)s", package_name="jobledger")
def main() -> None:
    """Background jobs that no one loses, with a history no one disputes."""


def _speaks_json(context: click.Context) -> bool:
    """Whether every line of this command is JSON: it is a service, whose log is read by machines."""
    if context.invoked_subcommand not in SUMMARIES["Services"] or LISTS in context.meta:
        return False
    from ledger.settings import environment  # noqa: PLC0415 — the help page reads no settings

    try:
        format_ = environment().get("LOG_FORMAT")
    except InvalidSettings:
        return False
    return format_ == "json" or (format_ is None and not sys.stderr.isatty())


def _write_section(formatter: click.HelpFormatter, title: str, rows: Iterable[tuple[str, str]]) -> None:
    if entries := list(rows):
        with formatter.section(title):
            formatter.write_dl(entries, col_spacing=2)
