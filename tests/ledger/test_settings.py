"""Settings: every refusal names the variable, its value and what is allowed, and all are named at once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ledger.errors import InvalidSettings
from ledger.settings import VARIABLES, Queue, Settings, digest, environment, from_env, load

NAMES = [variable.name for variable in VARIABLES]


def problems_of(**env: str) -> tuple[str, ...]:
    with pytest.raises(InvalidSettings) as refusal:
        from_env(env)
    return refusal.value.problems


def test_an_empty_environment_gives_the_documented_defaults():
    settings = from_env({})

    assert (settings.database_url, settings.redis_url) == (None, None)
    assert (settings.api_host, settings.api_port) == ("127.0.0.1", 8080)
    assert settings.worker_queues == (Queue("critical"), Queue("default"), Queue("low"))
    assert settings.worker_concurrency == 10
    assert settings.worker_shutdown_timeout == timedelta(seconds=30)
    assert settings.job_default_timeout == timedelta(minutes=5)
    assert settings.job_default_max_retries == 3
    assert settings.job_max_payload == 1 << 20
    assert (settings.log_level, settings.log_format) == ("info", "json")


def test_the_retry_policy_is_made_of_its_four_variables():
    env = {
        "JOB_RETRY_BACKOFF": "linear",
        "JOB_RETRY_BASE_DELAY": "2s",
        "JOB_RETRY_MAX_DELAY": "1m",
        "JOB_RETRY_JITTER": "full",
    }

    policy = from_env(env).retry_policy

    assert (policy.backoff, policy.base_seconds, policy.max_seconds, policy.jitter) == ("linear", 2, 60, "full")


GOOD = [
    ("DATABASE_URL", "postgres://u:p@h/db", "postgres://u:p@h/db"),
    ("DATABASE_URL", "postgresql://h/db", "postgresql://h/db"),
    ("REDIS_URL", "rediss://h:6380/1", "rediss://h:6380/1"),
    ("REDIS_URL", "unix:///run/redis.sock", "unix:///run/redis.sock"),
    ("API_PORT", "0", 0),
    ("API_PORT", "65535", 65535),
    ("WORKER_CONCURRENCY", " 1 ", 1),
    ("WORKER_QUEUES", "critical:6, default:3", (Queue("critical", 6), Queue("default", 3))),
    ("WORKER_QUEUES", " critical : 6 , default:3", (Queue("critical", 6), Queue("default", 3))),
    ("WORKER_QUEUES", "mail", (Queue("mail"),)),
    ("DATABASE_URL", "postgresql://u:p%40@h1:5432,h2:5433/db", "postgresql://u:p%40@h1:5432,h2:5433/db"),
    ("DATABASE_URL", "postgresql:///db?host=/run/pg", "postgresql:///db?host=/run/pg"),
    ("DATABASE_URL", "postgresql://u@[::1]:5432/db", "postgresql://u@[::1]:5432/db"),
    ("REDIS_URL", "redis://:p@h", "redis://:p@h"),
    ("WORKER_POLL_INTERVAL", "PT0.5S", timedelta(milliseconds=500)),
    ("WORKER_SHUTDOWN_TIMEOUT", "0s", timedelta()),
    ("JOB_DEFAULT_TIMEOUT", "168h", timedelta(days=7)),
    ("JOB_DEFAULT_MAX_RETRIES", "0", 0),
    ("JOB_MAX_PAYLOAD", "65536", 65536),
    ("JOB_MAX_PAYLOAD", "512KiB", 512 * 1024),
    ("JOB_MAX_PAYLOAD", "10 B", 10),
    ("LOG_LEVEL", "debug", "debug"),
]


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_what_is_allowed_is_taken(name, text, value):
    assert getattr(from_env({name: text}), name.lower()) == value


BAD = [
    ("API_PORT", "65536", "a whole number from 0 to 65535"),
    ("API_PORT", "http", "a whole number from 0 to 65535"),
    ("API_PORT", "-1", "a whole number from 0 to 65535"),
    ("API_PORT", "8080.0", "a whole number from 0 to 65535"),
    ("API_PORT", "\u0661", "a whole number from 0 to 65535"),
    ("API_PORT", "1" * 5000, "a whole number from 0 to 65535"),
    ("DATABASE_POOL_SIZE", "0", "a whole number from 1 to 1000"),
    ("WORKER_CONCURRENCY", "0", "a whole number from 1 to 10000"),
    ("WORKER_CONCURRENCY", "ten", "a whole number from 1 to 10000"),
    ("WORKER_QUEUES", "a,,b", "is not a queue name"),
    ("WORKER_QUEUES", "a b", "is not a queue name"),
    ("WORKER_QUEUES", "x" * 51, "is not a queue name"),
    ("WORKER_QUEUES", "a,a", "names a queue twice"),
    ("WORKER_QUEUES", "a:1,b", "to all or to none"),
    ("WORKER_QUEUES", "a:0", "a whole number, at least 1"),
    ("WORKER_QUEUES", "a:", "a whole number, at least 1"),
    ("WORKER_QUEUES", "a:x", "a whole number, at least 1"),
    ("WORKER_POLL_INTERVAL", "1", "300ms, 90s, 1h30m or PT90S"),
    ("WORKER_POLL_INTERVAL", "9ms", "10ms to 168h"),
    ("WORKER_SHUTDOWN_TIMEOUT", "-5s", "300ms, 90s, 1h30m or PT90S"),
    ("API_TIMEOUT", "169h", "100ms to 168h"),
    ("SCHEDULER_STALE_JOB_TIMEOUT", "1000h", "300ms to 168h"),
    ("JOB_DEFAULT_TIMEOUT", "0", "1ms to 168h"),
    ("JOB_DEFAULT_TIMEOUT", "169h", "1ms to 168h"),
    ("JOB_DEFAULT_MAX_RETRIES", "-1", "a whole number from 0 to 1000"),
    ("JOB_RETRY_BACKOFF", "fibonacci", "one of constant, linear, exponential"),
    ("JOB_RETRY_JITTER", "Full", "one of none, full, equal, decorrelated"),
    ("JOB_MAX_PAYLOAD", "1MB", "65536, 512KiB or 1MiB"),
    ("JOB_MAX_PAYLOAD", "0", "65536, 512KiB or 1MiB"),
    ("LOG_LEVEL", "INFO", "one of debug, info, warning, error"),
    ("LOG_FORMAT", "text", "one of json, console"),
]


@pytest.mark.parametrize(("name", "text", "allowed"), BAD)
def test_a_refusal_names_variable_value_and_what_is_allowed(name, text, allowed):
    [problem] = problems_of(**{name: text})

    assert problem.startswith(f"{name}={text}: ")
    assert allowed in problem


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
def test_a_bad_url_is_not_shown_for_it_may_hold_a_password(name):
    [problem] = problems_of(**{name: "mysql://u:hunter2@h"})

    assert problem.startswith(f"{name}: must begin with ")
    assert "hunter2" not in problem


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ["", "  "])
def test_set_but_empty_is_an_error_for_every_variable(name, text):
    [problem] = problems_of(**{name: text})

    assert problem.startswith(name)
    assert problem.endswith("is set but empty; give it a value or unset it")


def test_everything_that_is_wrong_is_said_at_once():
    problems = problems_of(API_PORT="x", LOG_LEVEL="loud", JOB_MAX_CRASHES="0")

    assert [problem.partition("=")[0] for problem in problems] == ["API_PORT", "JOB_MAX_CRASHES", "LOG_LEVEL"]


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"JOB_RETRY_BASE_DELAY": "2h"}, "JOB_RETRY_BASE_DELAY=2h: must be at most JOB_RETRY_MAX_DELAY, 1h"),
        (
            {"WORKER_HEARTBEAT_INTERVAL": "11s"},
            "WORKER_HEARTBEAT_INTERVAL=11s: must be at most a third of SCHEDULER_STALE_JOB_TIMEOUT, 30s; ",
        ),
        (
            {"EVENT_RETENTION": "24h", "JOB_IDEMPOTENCY_TTL": "36h"},
            "EVENT_RETENTION=24h: must be at least JOB_IDEMPOTENCY_TTL, 36h; ",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_both_of_them(env, words):
    [problem] = problems_of(**env)

    assert problem.startswith(words)


@pytest.mark.parametrize(
    ("name", "url", "words"),
    [
        ("DATABASE_URL", "postgresql://u:hunter2@h:port/db", "postgresql://user:password@host:5432/database"),
        ("DATABASE_URL", "postgresql://u:hunter2@h:70000/db", "postgresql://user:password@host:5432/database"),
        ("DATABASE_URL", "postgresql://u:hunter2@h/db?sslmood=x", "check its parameters"),
        ("REDIS_URL", "redis://:hunter2@h:0/0", "redis://:password@host:6379/0"),
        ("REDIS_URL", "redis://:hunter2@h/jobs", "the number of a database"),
    ],
)
def test_a_url_that_no_server_can_have_is_refused_at_start_and_not_tried_for_ever(name, url, words):
    [problem] = problems_of(**{name: url})

    assert problem.startswith(f"{name}: ")
    assert words in problem
    assert "hunter2" not in problem


def test_an_env_file_that_is_no_text_is_said(tmp_path):
    (tmp_path / ".env").write_bytes(b"API_HOST=\xff\n")
    with pytest.raises(InvalidSettings, match="UTF-8"):
        environment(tmp_path)


def test_items_of_keys_are_trimmed():
    (key,) = from_env({"API_KEYS": " ci : read : 0123456789abcdef "}).api_keys

    assert (key.name, key.scope, key.digest) == ("ci", "read", digest(b"0123456789abcdef"))


@pytest.mark.parametrize("env", [{"JOB_RETRY_BASE_DELAY": "1h"}, {"WORKER_HEARTBEAT_INTERVAL": "10s"}])
def test_values_that_just_agree_are_taken(env):
    assert isinstance(from_env(env), Settings)


def test_what_is_given_goes_before_the_environment_and_none_is_not_given():
    settings = from_env({"API_PORT": "1000", "API_HOST": "h"}, api_port=2000, api_host=None)

    assert (settings.api_port, settings.api_host) == (2000, "h")


def test_given_values_are_checked_against_the_others():
    with pytest.raises(InvalidSettings, match="JOB_RETRY_BASE_DELAY"):
        from_env({}, job_retry_base_delay=timedelta(hours=3))


def test_the_environment_goes_before_the_file(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("API_PORT=1000\nAPI_HOST='from file'\nLOG_LEVEL\n")
    monkeypatch.setenv("API_PORT", "2000")

    found = environment(tmp_path)

    assert (found["API_PORT"], found["API_HOST"], found["LOG_LEVEL"]) == ("2000", "from file", "")


def test_no_file_is_no_problem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert load(api_port=1).api_port == 1


@pytest.mark.parametrize("variable", VARIABLES, ids=NAMES)
def test_every_variable_says_what_it_means_and_has_a_default_that_is_allowed(variable):
    assert variable.meaning
    assert variable.default is None or variable.parse(variable.default) is not None
