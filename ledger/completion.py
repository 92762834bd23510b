"""`ledger completion SHELL`: the script that lets a shell complete commands, options and their words.

The script asks `ledger` itself at each Tab, so it never goes stale; only the group being completed is imported.
"""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import BashComplete, get_completion_class

from ledger.cli_output import example

VARIABLE = "_LEDGER_COMPLETE"
"""The environment variable in which the shell's script asks."""


@click.command(
    epilog=example(
        'eval "$(ledger completion bash)"   # in ~/.bashrc',
        'eval "$(ledger completion zsh)"    # in ~/.zshrc',
        "ledger completion fish > ~/.config/fish/completions/ledger.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete commands."""
    kind: Any = _Bash if shell == "bash" else get_completion_class(shell)
    click.echo(kind(context.find_root().command, {}, "ledger", VARIABLE).source())


class _Bash(BashComplete):
    """Prints the script whatever bash is installed here: it may be for another machine."""

    @staticmethod
    def _check_version() -> None:
        pass
