"""What is promised and asked for, row by row, and the tests that prove each row.

`ops/guarantees.md` is written by hand, `ops/contract.toml` is the source of `ops/PARITY_STATUS.md`. At the end of a
complete run of the suite `tests/support/proving.py` holds every row against what its tests came to.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
STATUS = ROOT / "ops" / "PARITY_STATUS.md"

HEAD = """\
# Parity: what is asked for, and the tests that prove it

Written by `make parity` from a complete run of the suite. A run of the suite fails if a row here has a test that is
missing, did not run or did not pass, or if this page is not the one it would write.

"""
NUMBERED = re.compile(r"[DT]\d+")


class Row(NamedTuple):
    section: str
    name: str
    what: str
    tests: tuple[str, ...]


def names() -> Counter[str]:
    """Return how often each test function is defined."""
    return Counter(
        node.name
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def contract(known: Iterable[str]) -> list[Row]:
    """Return the contract's rows. Defects and properties have the tests that bear their numbers, and those listed."""
    sections = tomllib.loads((ROOT / "ops" / "contract.toml").read_text())
    known = sorted(known)
    return [
        Row(section, name, what, tuple(dict.fromkeys([*listed, *_named_after(name, known)])))
        for section, rows in sections.items()
        for name, (what, *listed) in rows.items()
    ]


def guarantees() -> Iterator[Row]:
    for line in (ROOT / "ops" / "guarantees.md").read_text().splitlines():
        if line.startswith("| **"):
            name = line.split("**")[1]
            yield Row("guarantees", name, "", tuple(re.findall(r"`(test_\w+)`", line)))


def page(rows: Iterable[Row], passed: Collection[str]) -> str:
    """Return the text of the status page, given the tests that passed."""
    rows = list(rows)
    proved = {row for row in rows if row.tests and set(row.tests) <= set(passed)}
    tests = {test for row in rows for test in row.tests}
    text = HEAD + f"{len(rows)} rows, {len(proved)} of them proved, by {len(tests)} tests.\n"
    section = None
    for row in rows:
        if row.section != section:
            section = row.section
            text += f"\n## {section}\n\n| row | what | tests | passed |\n|---|---|---|---|\n"
        listed = " ".join(f"`{test}`" for test in row.tests)
        text += f"| {row.name} | {row.what} | {listed} | {'yes' if row in proved else '**no**'} |\n"
    return text


def _named_after(number: str, known: Iterable[str]) -> list[str]:
    """Return the tests with this number in front: `test_t5_d19_…` is of T5 and of D19."""
    if not NUMBERED.fullmatch(number):
        return []
    return [name for name in known if number.lower() in _numbers(name)]


def _numbers(name: str) -> list[str]:
    match = re.match(r"test_((?:[dtf]\d+_)+)", name)
    return match[1].split("_") if match else []
