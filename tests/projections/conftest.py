"""A pool of connections to a fresh database, and jobs that live in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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
