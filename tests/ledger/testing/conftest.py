"""An application whose servers nobody could reach, as the testing kit needs none."""

from __future__ import annotations

import pytest

from ledger import Job, Ledger


@pytest.fixture
def app():
    """An application whose servers nobody could reach."""
    ledger = Ledger(database_url="postgresql://nobody@127.0.0.1:1/none", redis_url="redis://127.0.0.1:1/0")

    @ledger.job("email.send", queue="mail", priority="high", max_retries=2)
    def send_email(job: Job, to: str, parts: list[str] | None = None) -> dict:
        return {"to": to, "parts": parts, "attempt": job.attempt}

    return ledger


@pytest.fixture
def send(app):
    return app.handlers["email.send"]
