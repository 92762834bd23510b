"""Keys of the HTTP API: whose they are, where they come from, when one is demanded, and how soon it is none."""

from __future__ import annotations

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from ledger_api.app import create_app
from ledger_api.auth import Keyring
from ledger_api.callers import ANYBODY, Caller
from ledger_projections.queries import Queries

from ledger import Ledger
from ledger.api_keys import ApiKeys, KnownKeys
from ledger.errors import Unavailable
from ledger.settings import ApiKey, from_env
from tests.support.api import Api, problem

OWN = "env:write:environment-secret-1,env:write:environment-secret-2,boss:admin:environment-secret-3"


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def basic(name: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


@pytest.fixture
def opened(database, redis_url):
    """Makes APIs over one database, with the settings and arguments given."""
    ledgers: list[Ledger] = []

    def make(*, url: str = database, insecure: bool = False, **environment: str) -> Api:
        settings = from_env(environment)
        ledger = Ledger(database_url=url, redis_url=redis_url, settings=settings)
        ledgers.append(ledger)
        return Api(create_app(ledger, Queries(ledger.database), settings, insecure=insecure))

    yield make
    for ledger in ledgers:
        ledger.close()


@pytest.fixture
def stored(database, redis_url):
    ledger = Ledger(database_url=database, redis_url=redis_url, settings=from_env({}))
    yield ApiKeys(ledger.database)
    ledger.close()


def actor_of(api: Api, headers: dict[str, str]) -> str:
    made = api.post("/jobs", {"type": "a"}, headers=headers)
    assert made.status_code == 201, made.text
    return api.get(f"/jobs/{made.json['id']}/events", headers=headers).json[0]["actor"]


@pytest.mark.parametrize("headers", [{}, bearer(""), bearer("x" * 16), basic("env", "wrong"), basic("", "x"),
                                     basic("boss", "environment-secret-1"), {"Authorization": "Basic !!!"},
                                     {"Authorization": "environment-secret-1"}, {"Authorization": "Digest x"},
                                     bearer("environment-secret-1x"), bearer("environment-secret-")])  # fmt: skip
def test_d50_without_a_valid_key_nothing_is_answered(opened, headers):
    api = opened(API_KEYS=OWN)
    answer = api.get("/workers", headers=headers)
    problem(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert "Basic " in answer.headers["WWW-Authenticate"]
    problem(api.post("/jobs", {"type": "a"}, headers=headers), 401, "unauthorized")


@pytest.mark.parametrize("headers", [bearer("environment-secret-1"), bearer("environment-secret-2"),
                                     basic("env", "environment-secret-1"), basic("env", "environment-secret-2"),
                                     {"Authorization": "bearer   environment-secret-1"}])  # fmt: skip
def test_d57_events_name_the_key_of_the_environment(opened, headers):
    assert actor_of(opened(API_KEYS=OWN), headers) == "api:env"


def test_d57_events_name_the_key_of_the_table_whichever_of_its_secrets_is_used(opened, stored):
    secrets = [stored.create("deploy", "write", actor="cli:x")[1] for _ in range(2)]
    api = opened()
    assert [actor_of(api, bearer(secret)) for secret in secrets] == ["api:deploy", "api:deploy"]
    assert actor_of(api, basic("deploy", secrets[0])) == "api:deploy"
    problem(api.get("/workers", headers=basic("other", secrets[0])), 401, "unauthorized")


def test_every_verb_names_its_key(opened):
    api, headers = opened(API_KEYS=OWN), bearer("environment-secret-3")
    made = api.post("/jobs/bulk", {"jobs": [{"type": "a"}, {"type": "a"}]}, headers=headers).json["results"]
    one, two = (each["id"] for each in made)
    api.post(f"/jobs/{one}/cancel", {}, headers=headers)
    api.delete(f"/jobs/{two}", headers=headers)
    for job_id in (one, two):
        events = api.get(f"/jobs/{job_id}/events", headers=headers).json
        assert [(event["kind"], event["actor"]) for event in events] == [
            ("enqueued", "api:boss"),
            ("cancelled", "api:boss"),
        ]


def test_without_keys_anybody_on_this_machine_may(opened):
    assert actor_of(opened(), {}) == "api:anonymous"
    assert actor_of(opened(), bearer("whatever")) == "api:anonymous"


def test_the_first_key_of_the_table_closes_the_door_and_its_end_does_not_open_it_again(opened, stored):
    assert opened().get("/workers").status_code == 200
    made, secret = stored.create("only", "read", actor="cli:x")
    for api in (opened(), opened(insecure=True, API_HOST="0.0.0.0")):
        problem(api.get("/workers"), 401, "unauthorized")
        assert api.get("/workers", headers=bearer(secret)).status_code == 200
    stored.revoke([made.id], actor="cli:x")
    for api in (opened(), opened(insecure=True, API_HOST="0.0.0.0")):
        problem(api.get("/workers"), 401, "unauthorized")
        problem(api.get("/workers", headers=bearer(secret)), 401, "unauthorized")


@pytest.mark.parametrize(("insecure", "status"), [(False, 401), (True, 200)])
def test_on_the_network_without_keys_only_insecure_is_open(opened, insecure, status):
    api = opened(insecure=insecure, API_HOST="0.0.0.0")
    assert api.get("/workers", headers={"Host": "ledger.example"}).status_code == status


def test_with_a_key_every_host_name_will_do(opened):
    headers = bearer("environment-secret-1") | {"Host": "ledger.example"}
    assert opened(API_KEYS=OWN).get("/workers", headers=headers).status_code == 200


def test_an_expired_key_is_none(opened, stored, database):
    _, secret = stored.create("brief", "read", actor="cli:x", expires=timedelta(hours=1))
    assert opened().get("/workers", headers=bearer(secret)).status_code == 200
    expire(stored)
    problem(opened().get("/workers", headers=bearer(secret)), 401, "unauthorized")


def expire(stored: ApiKeys) -> None:
    """Let an hour go by for every key that ends."""
    with stored._database.connection() as connection:
        connection.execute("update ledger.api_keys set expires_at = expires_at - interval '1 hour'")


def test_t4_without_postgres_the_keys_of_the_environment_open_and_nobody_can_say_of_others(opened):
    api = opened(url="postgresql://x@127.0.0.1:1/x", API_KEYS=OWN)
    problem(api.get("/workers?colour=red", headers=bearer("environment-secret-1")), 400, "invalid_parameter")
    problem(api.get("/workers"), 401, "unauthorized")
    answer = api.get("/workers", headers=bearer("ledger_of-the-table"))
    problem(answer, 503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_database_from_before_keys_is_unavailable_not_a_bug(opened, empty_database):
    problem(opened(url=empty_database).get("/workers"), 503, "unavailable")


def test_only_a_digest_is_kept(stored, database):
    made, secret = stored.create("deploy", "write", actor="cli:x")
    assert len(base64.urlsafe_b64decode(secret.removeprefix("ledger_") + "=")) == 32
    with stored._database.connection() as connection:
        row = connection.execute("select k::text, digest from ledger.api_keys k").fetchone()
        said = connection.execute("select string_agg(a::text, '') from ledger.audit a").fetchone()
    assert row is not None
    assert said is not None
    assert row[1] == hashlib.sha256(secret.encode()).digest()
    assert secret not in row[0] + said[0] + repr(made)


class Table:
    """What the table says, and how often it was asked."""

    def __init__(self, *keys: ApiKey, exist: bool = True) -> None:
        self.answer: KnownKeys | Unavailable = KnownKeys(keys, exist)
        self.asked = 0

    def known(self) -> KnownKeys:
        self.asked += 1
        if isinstance(self.answer, Unavailable):
            raise self.answer
        return self.answer


def key(name: str, secret: str, scope: str = "read") -> ApiKey:
    return ApiKey(name, scope, hashlib.sha256(secret.encode()).digest())


def test_a_revoked_key_is_refused_within_a_second_and_guessing_costs_no_queries():
    now = [100.0]
    table = Table(key("a", "secret"))
    keyring = Keyring((), table, now=lambda: now[0])
    for _ in range(100):
        assert keyring.identify("Bearer secret") == Caller("a", "read")
        assert keyring.identify("Bearer guess") is None
    assert table.asked == 1
    table.answer = KnownKeys((), exist=True)
    now[0] += 1.0
    assert keyring.identify("Bearer secret") is None
    assert table.asked == 2


def test_t4_a_server_that_is_back_is_asked_at_once():
    table = Table(exist=False)
    table.answer = Unavailable("away")
    keyring = Keyring((), table)
    for _ in range(3):
        with pytest.raises(Unavailable):
            keyring.identify(None)
    table.answer = KnownKeys((), exist=False)
    assert keyring.identify(None) is ANYBODY


def test_the_table_is_asked_by_one_thread_for_all():
    table = Table(key("a", "secret"))
    keyring = Keyring((), table, now=lambda: 0.0)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(keyring.identify, ["Bearer secret"] * 200))
    assert found == {Caller("a", "read")}
    assert table.asked == 1


def test_keys_of_the_environment_need_no_table():
    table = Table()
    table.answer = Unavailable("away")
    keyring = Keyring((key("a", "secret", "admin"),), table)
    assert keyring.identify("Bearer secret") == Caller("a", "admin")
    assert keyring.identify(None) is None
    assert table.asked == 0
