"""The README's first commands, taken from its text and typed one after another in an empty directory."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ledger import settings
from tests.support.terminal import Terminal, gone

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PATIENCE = 60
RECIPES = {
    "make demo": ".venv/bin/python -m ops.demo",  # which tests/acceptance/test_demo.py runs
    "make test": ".venv/bin/pytest -n 2 $(ARGS)",
    "make dev": ".venv/bin/ledger dev",
}


def commands() -> list[str]:
    """Return the shell commands under "Try it", without their comments."""
    block = re.search(r"^## Try it\n.*?^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert block is not None
    lines = block[1].replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [shlex.join(line).replace("'<id>'", "<id>") for line in words if line]


def recipe(target: str) -> str:
    """Return what `make` runs for a target."""
    found = re.search(rf"^{target}:.*\n\t@?(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def typed(command: str, directory: Path) -> str:
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_d05_the_readme_ends_in_a_job_that_succeeded(servers_directory: Path):
    (servers_directory / ".venv").symlink_to(sys.prefix)
    *made, curl, events = commands()
    assert {command: recipe(command.removeprefix("make ")) for command in made} == RECIPES
    assert f"localhost:{settings.from_env({}).api_port}/" in curl

    with Terminal("-m", "ledger", "dev", directory=servers_directory) as terminal:
        address = terminal.wait_for("ready at http").partition("ready at http://")[2].split("/")[0]
        job = json.loads(typed(curl.replace("localhost:8080", address), servers_directory))
        assert (job["type"], job["payload"]) == ("example.hello", {"name": "you"})

        followed = typed(f"{events.replace('<id>', job['id'])} --follow -o jsonl", servers_directory)
        assert [json.loads(line)["kind"] for line in followed.splitlines()] == ["enqueued", "leased", "succeeded"]
        told = typed(events.replace("<id>", job["id"]), servers_directory)
        assert "api:anonymous" in told
        assert "Hello, you!" in told

        family = terminal.family()
        terminal.interrupt()
        assert terminal.wait() == 0
        assert gone(family)
