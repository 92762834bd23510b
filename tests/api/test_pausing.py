"""Queues paused and resumed over HTTP: who, why, since when, and that it may be repeated."""

from __future__ import annotations

from datetime import datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.api import problem, wrong


def audited(ledger, queue: str) -> list[tuple[str, str, str | None]]:
    with ledger.database.connection() as connection:
        return connection.execute(
            "select action, actor, reason from ledger.audit where subject = %s order by position", [queue]
        ).fetchall()


def test_d58_a_queue_is_paused_and_resumed(api, ledger, lives, refresh, name):
    lives.enqueue(queue=name)
    refresh()
    answer = api.post(f"/queues/{name}/pause", {"reason": "the mail server is ill"})
    assert answer.status_code == 200
    assert float(answer.headers["Ledger-Lag-Seconds"]) >= 0
    paused = answer.json
    assert (paused["name"], paused["ready"], paused["paused"]) == (name, 1, True)
    assert (paused["paused_by"], paused["pause_reason"]) == ("api:anonymous", "the mail server is ill")
    assert paused["paused_at"].endswith("Z")
    assert api.get(f"/queues/{name}/stats").json["paused_at"] == paused["paused_at"]
    resumed = api.post(f"/queues/{name}/resume", {"reason": "it is well"}).json
    assert [resumed[member] for member in ("paused", "paused_at", "paused_by", "pause_reason")] == [
        False, None, None, None,
    ]  # fmt: skip
    assert audited(ledger, name) == [
        ("queue.paused", "api:anonymous", "the mail server is ill"),
        ("queue.resumed", "api:anonymous", "it is well"),
    ]


def test_who_pauses_a_paused_queue_changes_nothing(api, ledger, refresh, name):
    refresh()
    first = api.post(f"/queues/{name}/pause", {"reason": "first"}).json
    assert api.post(f"/queues/{name}/pause", {"reason": "second"}).json == first
    assert not api.post(f"/queues/{name}/resume").json["paused"]
    assert not api.post(f"/queues/{name}/resume").json["paused"]
    assert [action for action, _, _ in audited(ledger, name)] == ["queue.paused", "queue.resumed"]


def test_the_audit_says_what_a_pause_was(api, ledger, refresh, name):
    refresh()
    paused = api.post(f"/queues/{name}/pause", {"reason": "ill"}).json
    api.post(f"/queues/{name}/resume")
    with ledger.database.connection() as connection:
        rows = connection.execute(
            "select before, after from ledger.audit where subject = %s order by position", [name]
        ).fetchall()
    (none, made), (removed, nothing) = rows
    assert (none, nothing) == (None, None)
    assert made == removed
    assert (made["paused_by"], made["reason"]) == ("api:anonymous", "ill")
    assert datetime.fromisoformat(made["paused_at"]) == datetime.fromisoformat(paused["paused_at"])


def test_a_paused_queue_that_nobody_used_is_listed(api, refresh, name):
    refresh()
    api.post(f"/queues/{name}/pause")
    (found,) = (info for info in api.get("/queues").json if info["name"] == name)
    assert (found["depth"], found["paused"], found["pause_reason"]) == (0, True, None)


def test_jobs_may_be_enqueued_while_their_queue_is_paused(api, refresh, name):
    refresh()
    api.post(f"/queues/{name}/pause")
    assert api.post("/jobs", {"type": "t", "queue": name}).status_code == 201
    refresh()
    assert api.get(f"/queues/{name}/depth").json == {"queue": name, "depth": 1}


def test_the_metrics_say_what_is_paused(api, ledger, lives, refresh, name):
    lives.enqueue(queue=name)
    refresh()

    def gauge() -> float:
        text = api.probe("/metrics").text
        (family,) = (each for each in text_string_to_metric_families(text) if each.name == "ledger_queue_paused")
        return next(sample.value for sample in family.samples if sample.labels == {"queue": name})

    assert gauge() == 0
    api.post(f"/queues/{name}/pause")
    assert gauge() == 1


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_what_cannot_be_a_queue_or_a_reason_is_refused(api, name, verb):
    problem(api.post(f"/queues/-x/{verb}"), 404, "not_found")
    problem(api.post(f"/queues/{name}/{verb}", b"["), 400, "malformed_request")
    refused = problem(api.post(f"/queues/{name}/{verb}", {"reason": 7, "until": "friday"}), 422, "validation_failed")
    assert wrong(refused) == {"/reason", "/until"}
    problem(api.get(f"/queues/{name}/{verb}"), 405, "method_not_allowed")
