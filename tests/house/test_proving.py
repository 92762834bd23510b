"""A complete run of a suite is held against the rows it should prove; seen from outside, on a suite of three tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CONFTEST = """
from pathlib import Path
from ops import proofs
from tests.support import proving

proofs.ROOT = Path(__file__).parents[1]
proofs.TESTS, proofs.STATUS = proofs.ROOT / "tests", proofs.ROOT / "ops" / "PARITY_STATUS.md"

def pytest_addoption(parser):
    parser.addoption("--parity-status", action="store_true")

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(proving.Proving(config))
"""
CONTRACT = """
["Defects"]
D07 = ["it ended"]
["Routes"]
"GET /a" = ["answers", "test_a"]
"""
GUARANTEES = "| promise | assuming | tests |\n|---|---|---|\n| **Durable.** It stays. | | `test_a` |\n"
GOOD = """
import pytest

@pytest.mark.parametrize("n", [1, 2])
def test_a(n):
    assert n

def test_t1_d07_it_goes_on():
    assert True

def test_other():
    assert True
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    files = {"ops/contract.toml": CONTRACT, "ops/guarantees.md": GUARANTEES, "tests/conftest.py": CONFTEST}
    for name, text in files.items() | {("tests/test_it.py", GOOD), ("pytest.ini", "[pytest]\ntestpaths = tests\n")}:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def run(suite: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "xdist", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=suite, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def change(suite: Path, old: str, new: str) -> None:
    path = suite / "tests" / "test_it.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one", "several"])
def test_a_complete_run_writes_the_page_and_then_agrees_with_it(suite: Path, workers: list[str]) -> None:
    code, text = run(suite, *workers)
    assert (code, "run `make parity`" in text) == (1, True), text
    assert run(suite, *workers, "--parity-status")[0] == 0
    page = (suite / "ops" / "PARITY_STATUS.md").read_text()
    assert "2 rows, 2 of them proved, by 2 tests" in page
    assert "| D07 | it ended | `test_t1_d07_it_goes_on` | yes |" in page
    assert run(suite, *workers)[0] == 0
    assert (suite / "ops" / "PARITY_STATUS.md").read_text() == page


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("assert n\n", "assert n == 1\n", "Routes, GET /a: test_a failed and passed"),
        ("    assert n\n", "    pytest.skip()\n", "guarantees, Durable.: test_a skipped"),
        ("def test_a(n)", "def test_b(n)", "Routes, GET /a: test_a did not run"),
        ("test_t1_d07_it", "test_it", "is not what the rows and tests say"),
    ],
)
def test_what_is_not_proved_fails_the_run(suite: Path, old: str, new: str, complaint: str) -> None:
    (suite / "ops" / "PARITY_STATUS.md").write_text("an old page")
    change(suite, old, new)
    code, text = run(suite)
    assert code == 1
    assert complaint in text


@pytest.mark.parametrize("part", [["-k", "other"], ["tests/test_it.py::test_other"], ["--deselect", "x"]])
def test_a_run_of_a_part_proves_nothing_and_asks_for_nothing(suite: Path, part: list[str]) -> None:
    assert run(suite, *part)[0] == 0
