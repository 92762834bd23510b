"""Every guarantee names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
ROWS = [row for row in (ROOT / "ops" / "guarantees.md").read_text().splitlines() if row.startswith("| **")]


@pytest.fixture(scope="module")
def tests() -> set[str]:
    sources = (path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    return {name for source in sources for name in re.findall(r"(?:def |^)(test_\w+|Test\w+)", source, re.MULTILINE)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("**")[1])
def test_a_guarantee_is_held_by_tests(row, tests):
    named = re.findall(r"`(test_\w+)`", row)
    assert named
    assert set(named) <= tests
