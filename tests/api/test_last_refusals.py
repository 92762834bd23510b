"""The refusals that take more to bring about than a bad request: a bug of ours, and a key that is in use."""

from __future__ import annotations

import psycopg
from ledger_api.app import create_app

from tests.support.api import Api, problem


def test_a_bug_of_ours_is_a_problem_without_a_trace(ledger):
    class Broken:
        def list_jobs(self, *_, **__):
            raise RuntimeError("a secret of ours")

    broken = Api(create_app(ledger, Broken(), ledger.settings))
    answer = broken.get("/jobs")
    problem(answer, 500, "internal_error")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert "RuntimeError" not in answer.text


def test_a_key_whose_first_request_has_not_ended_is_in_use(api, ledger, name):
    with psycopg.connect(ledger.database_url) as first:
        made = ledger.enqueue("a", idempotency_key=name, connection=first)
        answer = api.post("/jobs", {"type": "a"}, headers={"Idempotency-Key": name})
        problem(answer, 409, "idempotency_key_in_use")
        assert int(answer.headers["Retry-After"]) >= 1
        first.commit()
    replayed = api.post("/jobs", {"type": "a"}, headers={"Idempotency-Key": name})
    assert (replayed.status_code, replayed.json["id"]) == (201, str(made))
    assert replayed.headers["Idempotency-Replayed"] == "true"
