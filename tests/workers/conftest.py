"""An application without handlers, on empty servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.working import ledger_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger import Ledger


@pytest.fixture
def ledger(database: str, redis_url: str) -> Iterator[Ledger]:
    with ledger_on(database, redis_url) as ledger:
        yield ledger
