"""The demonstration, with fewer files: all of it runs, and its own check at the end holds."""

from __future__ import annotations

from pathlib import Path

import pytest

import ops.demo
from tests.support.terminal import Terminal, gone

pytestmark = pytest.mark.heavy

ROOT = Path(ops.demo.__file__).parents[2]


def demo(directory: Path, *arguments: str, **environment: str) -> Terminal:
    paths = {"PYTHONPATH": str(ROOT)}
    return Terminal("-m", "ops.demo", *arguments, directory=directory, environment=paths | environment)


@pytest.fixture
def urls(database: str, redis_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database, "REDIS_URL": redis_url}


def test_every_file_is_done_once_on_embedded_servers(servers_directory: Path):
    with demo(servers_directory, "--limit", "100") as terminal:
        assert terminal.wait(150) == 0, terminal.text
        assert "100 files, 100 jobs." in terminal.text
        assert "All is well." in terminal.text
        for part in ("Queues, the last", "Dead letters:", "One job's history", "rebuild-projections", "verify"):
            assert part in terminal.text
        assert "\x1b" not in terminal.text


def test_on_given_servers_it_starts_none(urls: dict[str, str], tmp_path: Path):
    with demo(tmp_path, "--limit", "20", **urls) as terminal:
        terminal.wait_for("the API answers")
        family = terminal.family()
        assert not [p for p in family if "postgres" in p.name() or "valkey" in p.name()]
        assert terminal.wait(120) == 0, terminal.text
        assert gone(family)


def test_a_killed_worker_changes_nothing_in_the_count(urls: dict[str, str], tmp_path: Path):
    with demo(tmp_path, "--limit", "200", "--workers", "2", **urls) as terminal:
        terminal.wait_for("jobs enqueued")
        workers = [process for process in terminal.family() if "worker" in process.cmdline()]
        assert workers
        workers[-1].kill()
        assert terminal.wait(150) == 0, terminal.text
        assert "200 files, 200 jobs." in terminal.text


def test_ctrl_c_leaves_nothing(urls: dict[str, str], tmp_path: Path):
    with demo(tmp_path, "--limit", "200", **urls) as terminal:
        terminal.wait_for("the API answers")
        family = terminal.family()
        terminal.interrupt()
        assert terminal.wait() == 130, terminal.text
        assert gone(family)


@pytest.mark.heavy
def test_the_whole_library(urls: dict[str, str], tmp_path: Path):
    with demo(tmp_path, **urls) as terminal:
        assert terminal.wait(170) == 0, terminal.text
