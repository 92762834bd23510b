"""GET /jobs: filters, order, pages, payloads, and the lag of what is shown."""

from __future__ import annotations

import pytest
from ledger_projections import words

from ledger import ids
from ledger.events import Priority
from ledger.job import RESTING
from tests.support.api import NOBODY, problem, wrong


def listed(api, query):
    answer = api.get(f"/jobs?{query}")
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json]


def test_d49_every_filter_narrows_the_list(api, lives, refresh, name):
    ready = str(lives.enqueue(queue=name, type_="a.b", priority=Priority.HIGH, correlation_id=name))
    running = str(lives.enqueue(queue=name, type_="c.d"))
    lives.lease(ids.parse(running), worker=f"w-{name}")
    dead = str(lives.enqueue(queue=name, type_="c.d"))
    lives.die(ids.parse(dead))
    refresh()
    queue = f"queue={name}"
    at = api.get(f"/jobs/{running}").json["created_at"]
    assert listed(api, queue) == [dead, running, ready]
    assert listed(api, f"{queue},other&order=asc") == [ready, running, dead]
    for query, found in {
        "state=ready": [ready],
        "state=queued": [ready],
        "state=pending,processing": [running, ready],
        "state=dead,completed": [dead],
        "type=a.b": [ready],
        "type=a.b,c.d": [dead, running, ready],
        "priority=high": [ready],
        "priority=critical,low": [],
        f"correlation_id={name}": [ready],
        f"worker_id=w-{name}": [running],
        f"schedule_id={ids.mint()}": [],
        f"created_after={at}": [dead],
        f"created_before={at}": [ready],
    }.items():
        assert listed(api, f"{queue}&{query}") == found, query


def test_d43_an_empty_list_is_a_list(api, refresh, name):
    refresh()
    for path in (f"/jobs?queue={name}", f"/dlq?queue={name}"):
        assert api.get(path).content == b"[]"


@pytest.mark.parametrize("path", ["/jobs", "/dlq", f"/jobs/{NOBODY}/events"])
@pytest.mark.parametrize(
    "limit", ["0", "-1", "1001", "x", "", "1.5", "1e2", "%2B5", "99999999999999999999", "5&limit=6"]
)
def test_d42_limit_zero_is_refused_like_every_bad_limit(api, path, limit):
    assert wrong(problem(api.get(f"{path}?limit={limit}"), 400, "invalid_parameter")) == {"limit"}


@pytest.mark.parametrize(
    "query",
    [
        "state=failed", "state=done", "priority=urgent", "priority=", "schedule_id=x", "created_after=yesterday",
        "order=up", "include=result", "cursor=x", "type=a,,b", "queue=%00", "worker_id=%00", "offset=5", "colour=red",
    ],
)  # fmt: skip
def test_bad_parameters_are_refused(api, query):
    assert wrong(problem(api.get(f"/jobs?{query}"), 400, "invalid_parameter")) == {query.split("=")[0]}


def test_no_job_rests_in_failed_and_the_answer_says_so(api):
    assert "use retrying or dead" in problem(api.get("/jobs?state=failed"), 400, "invalid_parameter")["detail"]


def test_d49_pages_hold_every_job_once_whatever_arrives_meanwhile(api, lives, refresh, name):
    made = [str(lives.enqueue(queue=name)) for _ in range(7)]
    refresh()
    seen, path = [], f"/jobs?queue={name}&limit=3"
    while path:
        page = api.get(path)
        seen += [job["id"] for job in page.json]
        lives.enqueue(queue=name)
        refresh()
        link = page.headers.get("Link")
        path = link and link.removeprefix("</api/v1").removesuffix('>; rel="next"')
    assert seen == made[::-1]


def test_a_cursor_is_good_for_the_same_filters_only(api, lives, refresh, name):
    for _ in range(2):
        lives.enqueue(queue=name)
    refresh()
    cursor = api.get(f"/jobs?queue={name}&limit=1").headers["Next-Cursor"]
    assert api.get(f"/jobs?queue={name}&cursor={cursor}").status_code == 200
    refused = api.get(f"/jobs?queue={name}&state=ready&cursor={cursor}")
    assert wrong(problem(refused, 400, "invalid_parameter")) == {"cursor"}


def test_payloads_are_shown_when_asked_for(api, lives, refresh, name):
    lives.enqueue(queue=name, payload=b'{"x":  1}')
    refresh()
    assert api.get(f"/jobs?queue={name}").json[0]["payload"] is None
    assert b'{"x":  1}' in api.get(f"/jobs?queue={name}&include=payload").content
    problem(api.get(f"/jobs?queue={name}&include=payload&limit=101"), 400, "invalid_parameter")


def test_the_lag_is_told(api, refresh):
    refresh()
    assert 0 <= float(api.get("/jobs").headers["Ledger-Lag-Seconds"]) < 60


@pytest.mark.parametrize("path", ["/jobs", "/executions", "/dlq"])
@pytest.mark.parametrize("value", ["%ff", "a%C3", "%ed%a0%80"])
def test_t18_a_parameter_that_is_not_utf_8_is_refused(api, refresh, path, value):
    refresh()
    problem(api.send("GET", path, query_string=f"type={value}"), 400, "invalid_parameter")
    assert api.send("GET", path, query_string="type=%EF%BF%BD").status_code == 200


def test_words_for_states_and_priorities_are_those_of_the_rules():
    assert set(words.STATES) == set(RESTING)
    assert [level.word for level in sorted(Priority)] == list(words.PRIORITIES)
    assert set(words.meanings(words.RUN_STATES)) == {*words.RUN_STATES, "processing", "completed"}
