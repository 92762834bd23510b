"""Postgres goes while jobs run: outcomes are kept and recorded when it is back, and nothing new is leased meanwhile."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ledger_migrations.migrate import migrate
from structlog.testing import capture_logs

from ledger.events import Kind
from tests.support.working import dispatch, ended, kinds, ledger_on, reached, send, until, working

if TYPE_CHECKING:
    from ledger.runtime.embedded import EmbeddedPostgres


def test_outcomes_wait_for_postgres(private_postgres: EmbeddedPostgres, redis_url: str) -> None:
    migrate(private_postgres.url)
    began, go, runs = threading.Event(), threading.Event(), []
    with ledger_on(private_postgres.url, redis_url) as ledger:

        @ledger.job("long")
        def long() -> str:
            runs.append(1)
            began.set()
            go.wait(60)
            return "kept"

        @ledger.job("next")
        def next_() -> str:
            return "also"

        with capture_logs() as lines, working(ledger):
            job_id, later = send(ledger, "long"), ledger.enqueue("next")
            assert began.wait(30)
            reached(ledger, job_id, "running")
            private_postgres.stop()
            go.set()
            until(lambda: any(line["event"] == "outcomes wait" for line in lines))
            private_postgres.start()
            assert ended(ledger, job_id).result == "kept"
            dispatch(ledger, later)
            assert ended(ledger, later).result == "also"
    assert kinds(ledger, job_id) == [Kind.ENQUEUED, Kind.LEASED, Kind.SUCCEEDED]
    assert runs == [1]
    assert [line["event"] for line in lines if line["event"].startswith("outcomes")] == [
        "outcomes wait",
        "outcomes recorded after all",
    ]
