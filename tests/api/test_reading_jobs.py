"""GET /jobs/{id} and its history: as it is, as it was, page by page, and not again when nothing has changed."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from ledger import ids
from ledger.codec import rfc3339
from tests.support.api import NOBODY, problem, wrong


@pytest.fixture
def job_id(lives) -> str:
    """A job with five events: enqueued, leased, failed, retried, cancelled."""
    job_id = lives.enqueue()
    lives.lease(job_id)
    lives.fail(job_id)
    lives.cancel(job_id)
    return str(job_id)


def test_a_job_is_shown_as_it_was_at_a_version(api, job_id):
    states = [api.get(f"/jobs/{job_id}?version={version}").json["state"] for version in (1, 2, 4, 5)]
    assert states == ["ready", "running", "retrying", "cancelled"]
    assert api.get(f"/jobs/{job_id}?version=2").headers["ETag"] == '"2"'


def test_a_job_is_shown_as_it_was_at_a_time(api, job_id):
    events = api.get(f"/jobs/{job_id}/events").json
    for event, state in zip(events, ("ready", "running", None, "retrying", "cancelled"), strict=True):
        if state:
            assert api.get(f"/jobs/{job_id}", params={"as_of": event["at"]}).json["state"] == state
    before = datetime.fromisoformat(events[0]["at"]) - timedelta(milliseconds=1)
    problem(api.get(f"/jobs/{job_id}", params={"as_of": rfc3339(before)}), 404, "not_found")


def test_an_offset_may_arrive_with_its_plus_as_a_space(api, job_id):
    assert api.get(f"/jobs/{job_id}", query_string="as_of=2100-01-01T00:00:00+01:00").status_code == 200


def test_a_version_that_is_not_there_yet_is_not_found(api, job_id):
    problem(api.get(f"/jobs/{job_id}?version=6"), 404, "not_found")


@pytest.mark.parametrize("query", ["version=0", "version=-1", "version=x", "version=99999999999", "as_of=now", "v=1"])
def test_bad_parameters_are_refused(api, job_id, query):
    assert wrong(problem(api.get(f"/jobs/{job_id}?{query}"), 400, "invalid_parameter")) == {query.split("=")[0]}


def test_version_and_time_exclude_each_other(api, job_id):
    problem(api.get(f"/jobs/{job_id}?version=1&as_of=2100-01-01T00:00:00Z"), 400, "invalid_parameter")


@pytest.mark.parametrize("id_", ["x", "0", "%00", "%ff", "7b7b6f3e9d0f4c0e8a436cb1b2a0d0f1", "{" + NOBODY + "}"])
@pytest.mark.parametrize("tail", ["", "/events"])
def test_an_id_that_is_not_well_formed_names_nothing(api, id_, tail):
    assert problem(api.get(f"/jobs/{id_}{tail}"), 404, "not_found")["detail"] == "job not found"


def test_what_has_not_changed_is_not_sent_again(api, job_id):
    for known in ('"5"', 'W/"5"', '"1", "5"', "*"):
        answer = api.get(f"/jobs/{job_id}", headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", '"5"')
    assert api.get(f"/jobs/{job_id}", headers={"If-None-Match": '"4", "x"'}).status_code == 200
    problem(api.get(f"/jobs/{ids.mint()}", headers={"If-None-Match": "5"}), 400, "invalid_parameter")


def test_a_history_is_whole_and_in_order(api, job_id):
    events = api.get(f"/jobs/{job_id}/events").json
    assert [event["kind"] for event in events] == ["enqueued", "leased", "failed", "retried", "cancelled"]
    assert [event["version"] for event in events] == [1, 2, 3, 4, 5]
    assert events[2]["data"]["error_type"] == "ValueError"
    assert events[1].keys() == {
        "position", "job_id", "version", "kind", "at", "queue", "priority", "actor", "data", "schema_version",
        "correlation_id", "causation_id", "traceparent",
    }  # fmt: skip


def test_a_history_comes_in_pages(api, job_id):
    seen, path = [], f"/jobs/{job_id}/events?limit=2"
    while path:
        page = api.get(path)
        assert len(page.json) <= 2
        seen += [event["version"] for event in page.json]
        link = page.headers.get("Link")
        assert (link is None) == ("Next-Cursor" not in page.headers)
        path = link and link.removeprefix("</api/v1").removesuffix('>; rel="next"')
    assert seen == [1, 2, 3, 4, 5]


def test_a_cursor_is_good_for_its_own_list_only(api, job_id, lives):
    cursor = api.get(f"/jobs/{job_id}/events?limit=2").headers["Next-Cursor"]
    other = lives.enqueue()
    for path in (f"/jobs/{other}/events?cursor={cursor}", f"/jobs?cursor={cursor}", f"/jobs/{job_id}/events?cursor=x"):
        assert wrong(problem(api.get(path), 400, "invalid_parameter")) == {"cursor"}


def test_head_has_the_headers_of_get_and_no_body(api, job_id):
    for path in (f"/jobs/{job_id}", f"/jobs/{job_id}/events"):
        head, got = api.send("HEAD", path), api.get(path)
        assert (head.status_code, head.content) == (200, b"")
        for header in ("Content-Length", "Content-Type", "ETag"):
            assert head.headers.get(header) == got.headers.get(header)
