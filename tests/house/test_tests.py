"""Tests that could not fail prove nothing: none is skipped, none puts something in a server's place, each asserts."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
SOURCES = {path.relative_to(TESTS).as_posix(): ast.parse(path.read_text()) for path in sorted(TESTS.rglob("*.py"))}
STAND_INS = {"mock", "fakeredis", "moto", "pytest_mock", "mockredis", "pglite"}
WAYS_OUT = {"skip", "skipif", "xfail", "importorskip"}
FAILING = {"raises", "fail", "warns", "assert_outcomes", "fnmatch_lines"}
"""Calls that fail a test by themselves."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def called(node: ast.AST) -> set[str]:
    """Return the names of everything that is called, or used as a fixture."""
    names = {call.func for call in ast.walk(node) if isinstance(call, ast.Call)}
    found = {func.id if isinstance(func, ast.Name) else getattr(func, "attr", "") for func in names}
    return found | ({each.arg for each in node.args.args} if isinstance(node, Function) else set())


def able_to_fail(trees: list[ast.Module]) -> set[str]:
    """Return the names of functions that assert, and of those that call one of them."""
    every = [function for tree in trees for function in functions(tree)]
    able = set(FAILING) | {
        f.name for f in every if any(isinstance(node, ast.Assert | ast.Raise) for node in ast.walk(f))
    }
    before = 0
    while before != len(able):
        before = len(able)
        able |= {f.name for f in every if called(f) & able}
    return able


def stand_ins(tree: ast.Module) -> set[str]:
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    return {part for module in modules for part in module.split(".")} & STAND_INS


def ways_out(tree: ast.Module) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & WAYS_OUT


@pytest.mark.parametrize("path", SOURCES)
def test_d62_nothing_is_skipped_and_nothing_stands_in_for_a_server(path: str) -> None:
    assert ways_out(SOURCES[path]) == set()
    assert stand_ins(SOURCES[path]) == set()


def test_d62_every_test_can_fail() -> None:
    able = able_to_fail(list(SOURCES.values()))
    every = [(path, f) for path, tree in SOURCES.items() for f in functions(tree) if f.name.startswith("test_")]
    assert len(every) > 1000
    assert [f"{path}: {f.name}" for path, f in every if f.name not in able] == []


def test_d62_the_search_finds_what_it_looks_for() -> None:
    harmless = ast.parse("def test_nothing(x):\n    len(x)\n")
    assert able_to_fail([harmless]) == FAILING
    assert able_to_fail([ast.parse("def check(x):\n    assert x\ndef test_it(x):\n    check(x)\n")]) >= {"test_it"}
    assert stand_ins(ast.parse("from unittest.mock import Mock\nimport fakeredis")) == {"mock", "fakeredis"}
    assert ways_out(ast.parse("pytest.mark.skip\npytest.skip('no')\n")) == {"skip"}
