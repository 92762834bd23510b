"""What each key may do: every route of the application with every kind of key, and requests that browsers send."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from falcon import inspect
from ledger_api import scopes
from ledger_api.app import create_app
from ledger_projections.queries import Queries

from ledger.api_keys import ApiKeys
from ledger.settings import SCOPES, from_env
from tests.support.api import NOBODY, Api, problem

if TYPE_CHECKING:
    import falcon

    from ledger import Ledger

OPEN = {"/health", "/livez", "/ready", "/readyz", "/startupz", "/metrics",
        "/api/v1/openapi.json", "/api/v1/openapi.yaml"}  # fmt: skip
ON_ONE = re.compile(r"/api/v1/(jobs|jobs/bulk|(jobs|dlq)/\{\w+\}(/[a-z-]+)?|schedules/\{\w+\}/run-now)")
"""The routes that change something and ask for no more than `write`."""

REFUSED = ("none", "wrong", "expired", "revoked")


def routes(app: falcon.App) -> list[tuple[str, str]]:
    """Return (method, template) of everything that the application answers, but for what Falcon adds by itself."""
    found = inspect.inspect_app(app).routes
    return [(each.method, route.path) for route in found for each in route.methods if not each.internal]


@pytest.fixture(scope="module")
def app(ledger: Ledger) -> falcon.App:
    return create_app(ledger, Queries(ledger.database), from_env({}), insecure=True)


@pytest.fixture(scope="module")
def guarded(app: falcon.App, keys: dict[str, str], refresh) -> Api:
    refresh()
    return Api(app)


@pytest.fixture(scope="module")
def keys(ledger: Ledger) -> dict[str, str]:
    """The header of each kind of caller."""
    stored = ApiKeys(ledger.database)
    made = {name: stored.create(name, name, actor="cli:x") for name in SCOPES}
    made["expired"] = stored.create("expired", "admin", actor="cli:x", expires=timedelta(hours=1))
    made["revoked"] = stored.create("revoked", "admin", actor="cli:x")
    stored.revoke([made["revoked"][0].id], actor="cli:x")
    with ledger.database.connection() as connection:
        connection.execute("update ledger.api_keys set expires_at = expires_at - interval '1 hour'")
    headers = {name: f"Bearer {secret}" for name, (_, secret) in made.items()}
    return headers | {"wrong": "Bearer ledger_0123456789abcdef"}


def send(api: Api, method: str, template: str, **headers: str):
    path = re.sub(r"\{[^}]*\}", NOBODY, template)
    return api._client.simulate_request(method, path, headers=headers)


def as_(keys: dict[str, str], caller: str) -> dict[str, str]:
    return {} if caller == "none" else {"Authorization": keys[caller]}


def test_every_route_that_changes_something_has_a_scope(app):
    changing = {scopes.route(method, path) for method, path in routes(app) if method not in ("GET", "HEAD")}
    assert len(changing) > 10
    assert changing <= scopes.WRITE | scopes.ADMIN, "name the new route in ledger_api/scopes.py"
    assert not scopes.WRITE & scopes.ADMIN


def test_a_route_that_nobody_has_named_needs_admin():
    assert scopes.needed("POST", "/api/v1/new") == "admin"
    assert scopes.needed("GET", "/api/v1/new") == "read"


def test_the_scopes_are_those_that_were_promised(app):
    for method, path in routes(app):
        if path in OPEN:
            expected = None
        elif method in ("GET", "HEAD"):
            expected = "read"
        else:
            bulk = {"/api/v1/jobs/cancel", "/api/v1/dlq/retry", "/api/v1/dlq/discard"}
            expected = "write" if ON_ONE.fullmatch(path) and path not in bulk else "admin"
        assert scopes.needed(method, path) == expected, f"{method} {path}"


@pytest.mark.parametrize("caller", [*REFUSED, *SCOPES])
def test_d50_every_route_with_every_kind_of_key(app, guarded, keys, caller):
    for method, path in routes(app):
        needed = scopes.needed(method, path)
        answer = send(guarded, method, path, **as_(keys, caller))
        told = f"{method} {path} as {caller}: {answer.status_code} {answer.text}"
        if needed is None:
            assert answer.status_code == 200, told
        elif caller in REFUSED:
            assert answer.status_code == 401, told
            assert answer.headers["WWW-Authenticate"].startswith("Bearer "), told
        elif SCOPES.index(caller) < SCOPES.index(needed):
            assert answer.status_code == 403, told
            assert f"scope {needed}" in answer.json["detail"], told
        else:
            assert answer.status_code not in (401, 403, 429, 500, 503), told


def test_refusals_come_in_order(guarded, keys):
    read, write = as_(keys, "read"), as_(keys, "write")
    problem(guarded.get("/nothing"), 404, "not_found")
    problem(guarded.send("PUT", "/jobs"), 405, "method_not_allowed")
    problem(guarded.send("POST", "/jobs", body=b"x"), 401, "unauthorized")
    problem(guarded.send("POST", "/jobs", body=b"x", headers=read), 403, "forbidden")
    problem(guarded.send("POST", "/jobs", body=b"x", headers=write), 415, "unsupported_media_type")
    problem(guarded.get(f"/jobs/{NOBODY}"), 401, "unauthorized")
    problem(guarded.get(f"/jobs/{NOBODY}", headers=read), 404, "not_found")


BASIC_ALLOWED = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://proxied.example"},
    {"Origin": "http://127.0.0.1:8080"},
]
BASIC_REFUSED = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8080"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://127.0.0.1:8081"},
    {"Origin": "null"},
    {"Origin": ""},
]


@pytest.fixture
def basic(keys) -> dict[str, str]:
    secret = keys["write"].removeprefix("Bearer ")
    return {"Authorization": "Basic " + base64.b64encode(f"write:{secret}".encode()).decode()}


@pytest.mark.parametrize("sent", BASIC_ALLOWED)
def test_a_browser_of_this_server_may_change_things(guarded, basic, sent):
    assert guarded.post("/jobs", {"type": "a"}, headers=basic | sent).status_code == 201


@pytest.mark.parametrize("sent", BASIC_REFUSED)
def test_d50_a_foreign_page_cannot_use_what_the_browser_remembers(guarded, basic, sent):
    problem(guarded.post("/jobs", {"type": "a"}, headers=basic | sent), 403, "forbidden")
    assert guarded.get("/queues", headers=basic | sent).status_code == 200


@pytest.mark.parametrize("sent", BASIC_REFUSED)
def test_a_bearer_is_no_browser(guarded, keys, sent):
    assert guarded.post("/jobs", {"type": "a"}, headers=as_(keys, "write") | sent).status_code == 201
