"""Rules of the house that a machine can hold."""

from __future__ import annotations

import ast
import re
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("ledger", "projections", "workers", "scheduler", "api", "migrations")
PACKAGES = ("ledger", "ledger_projections", "ledger_workers", "ledger_scheduler", "ledger_api", "ledger_migrations")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
STATEMENTS = sorted(path for room in ROOMS for path in (ROOT / room).rglob("sql/**/*.sql"))

_SQL = re.compile(
    r"\s*(select\s.+\sfrom\s|insert\s+into\s|update\s+\w+\s+set\s|delete\s+from\s|with\s+\w+\s+as\s*\(|"
    r"(create|alter|drop)\s+(table|index|schema|function)\s)",
    re.IGNORECASE | re.DOTALL,
)


def sql_strings(source: str) -> list[str]:
    """Return the string literals that are SQL; docstrings are words."""
    tree = ast.parse(source)
    words = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    literals = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in words)
    texts = (node.value.decode() if isinstance(node.value, bytes) else node.value for node in literals)
    return [text for text in texts if isinstance(text, str) and _SQL.match(text)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_sql_lives_in_files(path):
    assert sql_strings(path.read_text()) == []


def test_the_search_for_sql_finds_it():
    assert sql_strings('x = "select a from b"; y = b"insert into t values (1)"') != []
    assert sql_strings('def f():\n    """Select one from many."""') == []


@pytest.mark.parametrize("path", STATEMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_statement_says_what_it_does_and_names_its_columns(path):
    text = path.read_text()
    assert text.startswith("-- "), "begin with a comment: what it does, its parameters, what it relies on"
    code = re.sub(r"--.*", "", text)
    assert not re.search(r"select\s+\*", code), "name the columns"
    assert not re.search(r"\btimestamp\b(?!tz)", code), "times have a zone"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_introduces_itself(path):
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "the first line says what lives here"


@pytest.mark.parametrize("package", PACKAGES)
def test_nobody_else_owns_our_packages(package):
    # An editable install lists none of its own; a stranger's would be there.
    assert set(packages_distributions().get(package, ())) <= {"jobledger"}
