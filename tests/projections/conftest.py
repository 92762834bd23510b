"""A pool of connections to a fresh database, jobs that live in it, and commands run on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from ledger.cli import main
from ledger.runtime.database import Database
from tests.support.lives import Lives

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pool(database: str) -> Iterator[Database]:
    pool = Database(database, size=12)
    yield pool
    pool.close()


@pytest.fixture
def lives(pool: Database) -> Lives:
    return Lives(pool)


@pytest.fixture
def run(database, redis_url, monkeypatch):
    """Run a command of `ledger` on this test's servers and demand its exit code."""
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("REDIS_URL", redis_url)

    def invoke(*arguments: str, exit_code: int = 0):
        result = CliRunner().invoke(main, list(map(str, arguments)))
        assert result.exit_code == exit_code, result.output
        return result

    return invoke
