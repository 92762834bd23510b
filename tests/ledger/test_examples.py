"""The examples of the help pages are commands that work: each is run as it stands, on real servers."""

from __future__ import annotations

import re
import shlex
import sys
from typing import TYPE_CHECKING

import click
from click.testing import CliRunner

from ledger.cli import SUMMARIES, main
from ledger.cli_output import ExitCode
from ledger.runtime.database import Database
from tests.support.lives import fold_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ELSEWHERE = {*SUMMARIES["Services"], "dev", "completion"}
"""What does not end by itself, and what is for a shell: their own tests start them."""

ALLOWED = {"doctor": (ExitCode.DONE, ExitCode.ERROR)}
"""The test servers are in a hurry, which it finds."""


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        elif path or name not in ELSEWHERE:
            yield (*path, name)


def examples(path: tuple[str, ...]) -> list[str]:
    page = CliRunner().invoke(main, [*path, "--help"], prog_name="ledger", terminal_width=80).stdout
    return re.findall(r"^ +ledger (.*)$", page[page.index("Example") :], re.MULTILINE)


def test_every_example_of_a_help_page_is_a_command_that_works(
    database: str, redis_url: str, tmp_path: Path, monkeypatch
):
    (tmp_path / "myapp").mkdir()
    (tmp_path / "myapp" / "jobs.py").write_text("from ledger import Ledger\n\nledger = Ledger()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    pool = Database(database)
    fold_all(pool)
    pool.close()
    runner = CliRunner(env={"DATABASE_URL": database, "REDIS_URL": redis_url, "SOURCE_REDIS_URL": redis_url})
    faults: list[str] = []
    for path in (*commands(main), ("worker", "list")):
        found = examples(path)
        assert found, path
        for example in found:
            done = runner.invoke(main, shlex.split(example), prog_name="ledger", catch_exceptions=False)
            # Ids in examples are made up.
            if done.exit_code not in ALLOWED.get(path[0], (ExitCode.DONE, ExitCode.NOT_FOUND)):
                faults.append(f"ledger {example}\n{done.output}")
    assert not faults, "\n".join(faults)
