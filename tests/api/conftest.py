"""The API over a database that a module's tests share, jobs that live in it, and read models refreshed on demand."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import structlog
from ledger_api.app import create_app
from ledger_projections.queries import Queries

from ledger import Ledger, ids
from ledger.settings import from_env
from tests.support.api import Api
from tests.support.lives import Lives, fold_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.servers import Servers


@pytest.fixture(scope="module")
def ledger(module_database: str, servers: Servers) -> Iterator[Ledger]:
    ledger = Ledger(database_url=module_database, redis_url=servers.redis_url, settings=from_env({}))
    yield ledger
    ledger.close()


@pytest.fixture(scope="module")
def api(ledger: Ledger) -> Api:
    return Api(create_app(ledger, Queries(ledger.database), ledger.settings))


@pytest.fixture(scope="module")
def lives(ledger: Ledger) -> Lives:
    return Lives(ledger.database)


@pytest.fixture(scope="module")
def refresh(ledger: Ledger) -> Callable[[], None]:
    """Brings the read models up to the end of the log."""
    return lambda: fold_all(ledger.database)


@pytest.fixture
def name() -> str:
    """A queue, type or key that no other test uses."""
    return f"n{ids.mint().hex}"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Keep the access log out of the tests' output, and out of nobody else's tests."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)
