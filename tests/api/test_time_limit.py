"""API_TIMEOUT: a request that Postgres keeps waiting is answered in time, and its connection is fit for the next."""

from __future__ import annotations

import time

import psycopg
import pytest
from ledger_api.app import create_app
from ledger_projections.queries import Queries

from ledger import Ledger
from ledger.runtime import deadline
from ledger.settings import from_env
from tests.support.api import Api, problem


@pytest.fixture
def hasty(database, redis_url):
    settings = from_env({"API_TIMEOUT": "300ms"})
    ledger = Ledger(database_url=database, redis_url=redis_url, settings=settings)
    yield Api(create_app(ledger, Queries(ledger.database), settings))
    ledger.close()


def test_a_request_over_its_time_is_503_and_nothing_was_acknowledged(hasty, database):
    assert hasty.post("/jobs", {"type": "a"}).status_code == 201
    with psycopg.connect(database) as connection:
        connection.execute("lock table ledger.events in access exclusive mode")
        began = time.monotonic()
        found = hasty.post("/jobs", {"type": "a"}, headers={"Idempotency-Key": "k"})
        assert problem(found, 503, "unavailable")
        assert found.headers["Retry-After"]
        assert time.monotonic() - began < 3
        connection.rollback()
        assert connection.execute("select count(*) from ledger.events").fetchone() == (1,)
    assert deadline.remaining() is None, "the limit ends with its request"
    again = hasty.post("/jobs", {"type": "a"}, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.headers.get("Idempotency-Replayed")) == (201, None)
