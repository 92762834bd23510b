"""The description of the API is complete and true: every route, parameter, member and answer, in both directions."""

from __future__ import annotations

from datetime import timedelta

import falcon
import jsonschema_rs
import orjson
import pytest
import schemathesis
import yaml
from ledger_api import parameters, scopes
from ledger_api.app import create_app
from ledger_api.openapi.document import document
from ledger_api.openapi.operation import Answer, operation
from ledger_api.problems import KINDS
from ledger_projections.queries import Queries

from ledger import Ledger
from ledger.resources import dumps
from ledger.settings import from_env
from tests.support.api import BASE, NOBODY, Api
from tests.support.contract import Contract, described, description, routes

PLAIN = frozenset(
    {"Host", "Origin", "Sec-Fetch-Site", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Authorization"}
)
"""Headers of HTTP itself, of browsers, and those that security schemes stand for."""


@pytest.fixture(scope="module")
def told(api):
    """The description."""
    return description(api.app)


@pytest.fixture(scope="module")
def operations(told):
    return described(told)


def filled(path: str) -> str:
    """Return the path with names in it that name nothing."""
    return path.replace("{id}", NOBODY).replace("{job_id}", NOBODY).replace("{name}", "nobody")


def send(api, method: str, path: str, body=None, query: str = "", **headers: str):
    if body is not None:
        headers |= {"Content-Type": "application/json"}
    return api._send(method.upper(), filled(path) + query, body=None if body is None else dumps(body), headers=headers)


def undocumented(app) -> set[tuple[str, str]]:
    return routes(app) ^ described(description(app)).keys()


def test_every_route_and_method_is_described_and_nothing_else(api):
    assert undocumented(api.app) == set()


def test_a_route_or_method_without_a_description_is_noticed(ledger):
    class Secret:
        def on_get(self, req, resp):
            resp.data = b"{}"

    app = create_app(ledger, Queries(ledger.database), ledger.settings)
    app.add_route(f"{BASE}/secret", Secret())
    assert undocumented(app) == {("get", f"{BASE}/secret")}
    app = create_app(ledger, Queries(ledger.database), ledger.settings)
    resource = app._router.find(f"{BASE}/jobs")[0]
    resource.on_patch = Secret().on_get
    assert undocumented(app) == {("patch", f"{BASE}/jobs")}


@pytest.fixture
def asked_for(monkeypatch):
    """The names of parameters and headers that a request is asked for."""
    names: set[str] = set()
    end, get_header = parameters.Parameters.end, falcon.Request.get_header

    def end_and_tell(self):
        names.update(("query", name) for name in self._known)
        end(self)

    def get_header_and_tell(self, name, *rest, **more):
        names.add(("header", name))
        return get_header(self, name, *rest, **more)

    monkeypatch.setattr(parameters.Parameters, "end", end_and_tell)
    monkeypatch.setattr(falcon.Request, "get_header", get_header_and_tell)
    return names


def unsaid_parameters(api, asked_for, method, path, operation_):
    asked_for.clear()
    send(api, method, path)
    send(api, method, path, body=good_body(operation_))
    named = {(each["in"], each["name"]) for each in operation_["parameters"] if each["in"] != "path"}
    return {name for name in asked_for if name not in {("header", plain) for plain in PLAIN}} ^ named


def test_every_parameter_and_header_that_is_read_is_described_and_nothing_else(api, refresh, operations, asked_for):
    refresh()
    for (method, path), each in operations.items():
        assert unsaid_parameters(api, asked_for, method, path, each) == set(), (method, path)


def test_a_parameter_without_a_description_is_noticed(asked_for):
    class Painted:
        @operation("getPaint", "Paint.", tag="jobs", answers={200: Answer(None, "Painted.")})
        def on_get(self, req, resp):
            query = parameters.Parameters(req)
            query.text("colour")
            query.end()
            req.get_header("X-Hue")

    app = falcon.App()
    app.add_route("/paint", Painted())
    each = document({"/paint": Painted()})["paths"]["/paint"]["get"]
    client = falcon.testing.TestClient(app)
    client._send = client.simulate_request
    found = unsaid_parameters(client, asked_for, "get", "/paint", each)
    assert found >= {("query", "colour"), ("header", "X-Hue")}


def _typed(properties):
    return [(name, {"type": None} | schema) for name, schema in properties.items()]


def good_body(operation_):
    """Return a body that the operation takes: the first of its examples."""
    for content in operation_.get("requestBody", {}).get("content", {}).values():
        return next((example["value"] for example in content.get("examples", {}).values()), {})
    return None


def test_every_member_that_is_described_is_read_and_no_other(api, told, operations):
    """One value that fits nothing: each member is refused for its value, none as unknown, and one more is."""
    for (method, path), each in operations.items():
        if "requestBody" not in each:
            continue
        (reference,) = {content["schema"]["$ref"] for content in each["requestBody"]["content"].values()}
        schema = told["components"]["schemas"][reference.rpartition("/")[2]]
        assert schema["additionalProperties"] is False
        wrong = {name: 1.5 if each["type"] == "array" else [[]] for name, each in _typed(schema["properties"])}
        refused = send(api, method, path, wrong | {"hue": 1})
        assert refused.status_code == 422, (method, path)
        details = {breach["pointer"][1:]: breach["detail"] for breach in refused.json["errors"]}
        unknown = {name for name, detail in details.items() if "is not a member" in detail}
        assert unknown == {"hue"}, (method, path)
        assert details.keys() >= {*schema["properties"], "hue"}, (method, path)


def test_the_document_is_openapi_3_1(told):
    assert told["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(told).validate()
    for schema in told["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema | {"$schema": "https://json-schema.org/draft/2020-12/schema"})
    ids = [each["operationId"] for each in described(told).values()]
    assert len(ids) == len(set(ids))
    tags = {tag["name"] for tag in told["tags"]}
    assert {tag for each in described(told).values() for tag in each["tags"]} <= tags


def test_operations_keep_their_ids(operations):
    """Generated clients are named after them."""
    kept = {
        "enqueueJob": ("post", "/jobs"),
        "enqueueJobs": ("post", "/jobs/bulk"),
        "listJobs": ("get", "/jobs"),
        "getJob": ("get", "/jobs/{id}"),
        "deleteJob": ("delete", "/jobs/{id}"),
        "cancelJob": ("post", "/jobs/{id}/cancel"),
        "retryJob": ("post", "/jobs/{id}/retry"),
        "runJobNow": ("post", "/jobs/{id}/run-now"),
        "cancelJobs": ("post", "/jobs/cancel"),
        "listJobEvents": ("get", "/jobs/{id}/events"),
        "listQueues": ("get", "/queues"),
        "getQueueDepth": ("get", "/queues/{name}/depth"),
        "getQueueStats": ("get", "/queues/{name}/stats"),
        "pauseQueue": ("post", "/queues/{name}/pause"),
        "resumeQueue": ("post", "/queues/{name}/resume"),
        "listDeadLetters": ("get", "/dlq"),
        "getDeadLetter": ("get", "/dlq/{id}"),
        "retryDeadLetter": ("post", "/dlq/{id}/retry"),
        "discardDeadLetter": ("delete", "/dlq/{id}"),
        "retryDeadLetters": ("post", "/dlq/retry"),
        "discardDeadLetters": ("post", "/dlq/discard"),
        "listSchedules": ("get", "/schedules"),
        "createSchedule": ("post", "/schedules"),
        "getSchedule": ("get", "/schedules/{id}"),
        "updateSchedule": ("patch", "/schedules/{id}"),
        "deleteSchedule": ("delete", "/schedules/{id}"),
        "pauseSchedule": ("post", "/schedules/{id}/pause"),
        "resumeSchedule": ("post", "/schedules/{id}/resume"),
        "runScheduleNow": ("post", "/schedules/{id}/run-now"),
        "listExecutions": ("get", "/executions"),
        "listJobExecutions": ("get", "/executions/{job_id}"),
        "getStats": ("get", "/stats"),
        "listWorkers": ("get", "/workers"),
        "listProjections": ("get", "/projections"),
        "getOpenApiJson": ("get", "/openapi.json"),
        "getOpenApiYaml": ("get", "/openapi.yaml"),
    }
    for id_, (method, path) in kept.items():
        assert operations[method, BASE + path]["operationId"] == id_


def examples(node, root):
    """Find every example with the schema that it must fit."""
    if isinstance(node, dict):
        if isinstance(node.get("examples"), list):
            yield from ((node, example) for example in node["examples"])
        elif isinstance(node.get("examples"), dict) and "schema" in node:
            yield from ((node["schema"], example["value"]) for example in node["examples"].values())
        for name, value in node.items():
            if name not in ("examples", "example", "default"):
                yield from examples(value, root)
    elif isinstance(node, list):
        for each in node:
            yield from examples(each, root)


def test_every_example_is_a_good_one(told):
    found = list(examples(told, told))
    assert len(found) > 50
    for schema, example in found:
        validator = jsonschema_rs.Draft202012Validator(schema | {"components": told["components"]})
        assert [error.message for error in validator.iter_errors(example)] == []


def test_every_problem_is_described(told):
    codes = set()
    for response in told["components"]["responses"].values():
        narrowed = response["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]
        for code in narrowed["code"]["enum"]:
            assert KINDS[code][0] == narrowed["status"]["const"]
            codes.add(code)
    assert codes == KINDS.keys()


def test_json_and_yaml_are_the_same_document_and_need_no_key(database, redis_url):
    settings = from_env({"API_KEYS": "boss:admin:a-secret-of-the-boss"})
    ledger = Ledger(database_url=database, redis_url=redis_url, settings=settings)
    api = Api(create_app(ledger, Queries(ledger.database), settings))
    as_json, as_yaml = api.get("/openapi.json"), api.get("/openapi.yaml")
    assert as_json.headers["Content-Type"] == "application/json"
    assert as_yaml.headers["Content-Type"] == "application/x-yaml"
    assert yaml.safe_load(as_yaml.content) == as_json.json
    assert api.get("/jobs").status_code == 401
    ledger.close()


@pytest.mark.parametrize("path", ["/openapi.json", "/openapi.yaml"])
def test_the_document_is_sent_once(api, path):
    tag = api.get(path).headers["ETag"]
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = api.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert api.get(path, headers={"If-None-Match": '"x"'}).status_code == 200


def test_the_scope_that_is_described_is_the_one_that_is_asked_for(database, redis_url, operations):
    keys = "r:read:secret-of-a-reader,w:write:secret-of-a-writer,a:admin:secret-of-an-admin"
    settings = from_env({"API_KEYS": keys})
    ledger = Ledger(database_url=database, redis_url=redis_url, settings=settings)
    api = Api(create_app(ledger, Queries(ledger.database), settings))
    reach = {"read": "secret-of-a-reader", "write": "secret-of-a-writer", "admin": "secret-of-an-admin"}
    for (method, path), each in operations.items():
        needed = each["security"][0]["bearer"][0] if each["security"] else None
        assert needed == scopes.needed(method.upper(), path)
        for scope, secret in reach.items():
            answer = send(api, method, path, Authorization=f"Bearer {secret}")
            refused = needed is not None and list(reach).index(scope) < list(reach).index(needed)
            assert (answer.status_code == 403) is refused, (method, path, scope)
        assert (send(api, method, path).status_code == 401) is (needed is not None)
    ledger.close()


def use_schedules(api):
    for name in ("nightly", "morning"):
        api.post(
            "/schedules", {"name": name, "job_type": "a", "cron_expression": "@daily", "timezone": "Europe/Berlin"}
        )
    assert api.get("/schedules?limit=1").headers["Next-Cursor"]
    for path in ("/schedules/nightly", "/schedules/nightly/next"):
        api.get(path)
    for verb in ("pause", "resume", "run-now"):
        api.post(f"/schedules/nightly/{verb}", {"reason": "because"})
    change = {"body": b'{"queue":"reports"}', "headers": {"Content-Type": "application/merge-patch+json"}}
    assert api.send("PATCH", "/schedules/nightly", **change).json["queue"] == "reports"
    api.delete("/schedules/morning?reason=enough")


def test_every_operation_answers_as_it_is_described(database, redis_url, operations):
    """Each is seen to succeed, with something to show; the client holds all answers against the description."""
    from tests.support.lives import Lives, fold_all  # noqa: PLC0415

    ledger = Ledger(database_url=database, redis_url=redis_url, settings=from_env({}))
    api = Api(create_app(ledger, Queries(ledger.database), ledger.settings))
    lives = Lives(ledger.database)
    for path in ("/health", "/livez", "/ready", "/readyz", "/startupz", "/metrics"):
        api.probe(path)
    made = api.post("/jobs", {"type": "a", "delay": "1h", "metadata": {"tenant": "7"}}).json
    api.post(f"/jobs/{made['id']}/run-now", {"reason": "now"})
    for number in range(3):
        lives.run(lives.enqueue(), duration_ms=number)
    lives.lease(lives.enqueue())
    lives.enqueue(delay=timedelta(hours=1))
    dead = [lives.enqueue() for _ in range(4)]
    for job_id in dead:
        lives.die(job_id)
    lives.retry(dead[3])
    lives.die(dead[3])
    fold_all(ledger.database)
    for path in ("/jobs?limit=2", "/dlq?limit=2", "/executions?limit=2"):
        assert api.get(path).headers["Next-Cursor"]
    api.get("/jobs?include=payload")
    for path in ("/stats", "/workers", "/projections", "/queues", "/queues/mail/depth", "/queues/mail/stats"):
        api.get(path)
    for path in (f"/jobs/{dead[3]}", f"/jobs/{dead[3]}/events", f"/jobs/{dead[3]}/notes", f"/executions/{dead[3]}"):
        assert api.get(path).status_code == 200
    api.get(f"/dlq/{dead[3]}")
    api.post("/jobs/bulk", {"jobs": [{"type": "a"}, {"type": "?"}]})
    api.post(f"/jobs/{dead[0]}/retry")
    api.post(f"/dlq/{dead[1]}/retry", {"delay": "1h"})
    api.delete(f"/dlq/{dead[2]}?reason=enough")
    api.post(f"/jobs/{made['id']}/cancel")
    api.delete(f"/jobs/{dead[0]}")
    for path in ("/queues/mail/pause", "/queues/mail/resume"):
        api.post(path, {"reason": "holiday"})
    for path in ("/dlq/retry", "/dlq/discard", "/jobs/cancel"):
        api.post(path, {"all": True, "dry_run": True})
        assert api.post(path, {"all": True, "limit": 1}).status_code in (200, 202)
    use_schedules(api)
    api.get("/openapi.json")
    api.get("/openapi.yaml")
    missing = {each["operationId"] for each in operations.values()} - api.contract.seen
    assert missing == set()
    ledger.close()


class Answered:
    """An answer as a test client returns it."""

    def __init__(self, body, status_code=200, **headers):
        self.status_code, self.content, self.json = status_code, orjson.dumps(body), body
        self.headers = {"Content-Type": "application/json", "X-Request-Id": "x", "Ledger-Lag-Seconds": "0"} | headers


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (Answered({"queue": "a", "depth": 1}), ""),
        (Answered({"queue": "a", "depth": 1, "hue": 1}), "Additional properties"),
        (Answered({"queue": "a"}), "required property"),
        (Answered({"queue": "a", "depth": -1}), "less than the minimum"),
        (Answered({"queue": "a", "depth": 1}, 202), "status 202 is not described"),
        (Answered({"queue": "a", "depth": 1}, **{"X-Hue": "red"}), "header x-hue is not described"),
        (Answered({"queue": "a", "depth": 1}, **{"X-Request-Id": ""}), "header x-request-id"),
        (Answered({"queue": "a", "depth": 1}, **{"Content-Type": "text/html"}), "media type text/html"),
        (Answered({"code": "not_found"}, 404, **{"Content-Type": "application/problem+json"}), "required property"),
    ],
)
def test_an_answer_that_is_not_as_described_is_noticed(told, answer, wrong):
    found = Contract(told).breaches("GET", f"{BASE}/queues/a/depth", answer)
    assert any(wrong in each for each in found) if wrong else found == []
