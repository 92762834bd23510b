"""`API_RATE_LIMIT`: each key and each address for itself, a second's worth at once, and never more memory than that."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from ledger_api.app import create_app
from ledger_api.middleware.rate_limit import Buckets
from ledger_projections.queries import Queries

from ledger.settings import from_env
from tests.support.api import Api, problem

ME, YOU = ("key", "me"), ("key", "you")
KEYS = "me:read:secret-of-mine-0001,me:read:secret-of-mine-0002,you:read:secret-of-yours-0001"


@pytest.fixture
def limited(ledger):
    """Makes APIs that allow one request a second."""

    def make(**environment: str) -> Api:
        settings = from_env({"API_RATE_LIMIT": "1", **environment})
        return Api(create_app(ledger, Queries(ledger.database), settings))

    return make


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def buckets(now) -> Buckets:
    return Buckets(5, lambda: now[0], most=100)


def allowed(buckets: Buckets, whose: tuple[str, str], tries: int) -> int:
    return sum(buckets.take(whose) for _ in range(tries))


def test_a_second_s_worth_may_come_at_once_and_then_the_rate_holds(buckets, now):
    assert allowed(buckets, ME, 20) == 5
    now[0] += 0.1
    assert allowed(buckets, ME, 20) == 0
    now[0] += 0.1
    assert allowed(buckets, ME, 20) == 1
    now[0] += 3600
    assert allowed(buckets, ME, 20) == 5


def test_over_any_time_no_more_than_the_rate_and_one_burst(buckets, now):
    taken = 0
    for _ in range(1000):
        now[0] += 0.01
        taken += buckets.take(ME)
    assert 5 * 10 <= taken <= 5 * 10 + 5


def test_one_caller_takes_nothing_from_another(buckets):
    assert allowed(buckets, ME, 20) == 5
    assert allowed(buckets, YOU, 20) == 5
    assert allowed(buckets, ("address", "me"), 20) == 5


def test_callers_without_end_take_no_memory_without_end(buckets):
    for number in range(1000):
        buckets.take(("address", str(number)))
        buckets.take(ME)
    assert len(buckets) == 100
    assert not buckets.take(ME), "who keeps coming is not forgotten"


def test_threads_do_not_take_one_token_twice(buckets):
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(buckets.take, [ME] * 500)) == 5


def refusal(api: Api, **headers: str):
    """Send until one is refused: fifty in fifty seconds would be allowed, but not faster."""
    answers = (api.get("/projections", headers=headers) for _ in range(50))
    return next(answer for answer in answers if answer.status_code != 200)


def test_d50_over_the_limit_is_told_when_to_come_again(limited):
    answer = refusal(limited())
    problem(answer, 429, "rate_limited")
    assert answer.headers["Retry-After"] == "1"


def test_a_key_is_limited_whichever_of_its_secrets_is_used(limited):
    api = limited(API_KEYS=KEYS)
    problem(refusal(api, Authorization="Bearer secret-of-mine-0001"), 429, "rate_limited")
    problem(api.get("/projections", headers={"Authorization": "Bearer secret-of-mine-0002"}), 429, "rate_limited")
    assert api.get("/projections", headers={"Authorization": "Bearer secret-of-yours-0001"}).status_code == 200


def test_probes_and_metrics_are_never_limited(limited):
    api = limited()
    refusal(api)
    for path in ("/health", "/ready", "/metrics", "/api/v1/openapi.json"):
        assert [api.probe(path).status_code for _ in range(5)] == [200] * 5


def test_a_limit_is_told_before_what_is_wrong_with_the_body_and_after_who_asks(limited):
    api = limited(API_KEYS=KEYS.replace(":read:", ":write:", 1))
    headers = {"Authorization": "Bearer secret-of-mine-0001"}
    refusal(api, **headers)
    problem(api.send("POST", "/jobs", body=b"x", headers=headers), 429, "rate_limited")
    problem(api.send("POST", "/jobs", body=b"x"), 401, "unauthorized")
    problem(api.send("POST", "/jobs/cancel", body=b"x", headers=headers), 403, "forbidden")


def test_without_the_setting_there_is_no_limit(api):
    assert {api.get("/projections").status_code for _ in range(200)} == {200}
