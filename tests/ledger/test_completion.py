"""Shell completion: the scripts are what the shells take, and a Tab does not wait for imports."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ledger.cli import main

HEAVY = ("falcon", "alembic", "psycopg", "redis", "sqlalchemy", "rich", "structlog", "gunicorn", "mcp")


def completed(*words: str) -> list[str]:
    """Press Tab in a real bash after these words, the last one half typed."""
    script = """
    eval "$(ledger completion bash)"
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    _ledger_completion ledger
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", script, "bash", "ledger", *words],
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["jo"], {"job"}),
        (["job", "ca"], {"cancel"}),
        (["job", "l"], {"list"}),
        (["job", "list", "--o"], {"--order", "--output"}),
        (["job", "list", "-o", ""], {"text", "json", "jsonl"}),
        (["job", "list", "--state", "re"], {"ready", "retrying"}),
        (["job", "list", "--state", "dead,s"], {"dead,scheduled", "dead,succeeded"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
    ],
)
def test_bash_completes(words: list[str], found: set[str]):
    assert set(completed(*words)) == found


def test_a_wrong_word_before_is_met_with_silence():
    assert "Traceback" not in " ".join(completed("nothing", ""))


def test_every_command_is_offered():
    assert {"job", "dlq", "worker", "mcp", "rebuild-projections"} <= set(completed(""))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_accepts_its_script(shell: str):
    script = CliRunner().invoke(main, ["completion", shell], prog_name="ledger").stdout
    assert "_LEDGER_COMPLETE" in script
    if (installed := shutil.which(shell)) is not None:  # bash always is; the others' grammar where they are
        subprocess.run([installed, "-n"], input=script, text=True, timeout=60, check=True)


@pytest.mark.parametrize("words", ["ledger ", "ledger job ", "ledger dlq ", "ledger job enqueue --"])
def test_a_tab_loads_no_room(words: str):
    code = (
        "import atexit, sys; from ledger.cli import main\n"
        f"atexit.register(lambda: print('heavy', *sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr))\n"
        "main(prog_name='ledger')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"_LEDGER_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("plain,")
    assert done.stderr == "heavy\n"
