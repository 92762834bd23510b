"""What the scheduler's tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ledger.runtime.database import Database
from tests.support.scheduling import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def stage(database: str) -> Iterator[Stage]:
    pool = Database(database)
    yield Stage(pool)
    pool.close()
