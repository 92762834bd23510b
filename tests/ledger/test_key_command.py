"""`ledger key`: a secret is shown once and works, keys are listed without it, and revoked by name or id, on record."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from click.testing import CliRunner, Result

from ledger.api_keys import ApiKeys
from ledger.cli import main
from ledger.runtime.database import Database
from ledger.settings import ApiKey

UNKNOWN = "019f7c3e-5a10-7000-8000-000000000000"


@pytest.fixture
def run(database: str, redis_url: str):
    """Run `ledger key` against real servers."""
    environment = {"DATABASE_URL": database, "REDIS_URL": redis_url}

    def invoke(*arguments: str) -> Result:
        return CliRunner(env=environment).invoke(main, ["key", *arguments], prog_name="ledger")

    return invoke


@pytest.fixture
def keys(database: str):
    database_ = Database(database, size=1)
    yield ApiKeys(database_)
    database_.close()


@pytest.fixture
def audit(database: str):
    def rows() -> list[tuple]:
        with psycopg.connect(database) as connection:
            wanted = "select action, subject, reason, before, after, actor from ledger.audit order by position"
            return connection.execute(wanted).fetchall()

    return rows


def made(run, *arguments: str) -> dict:
    result = run("create", *arguments, "-o", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def listed(run) -> list[dict]:
    return json.loads(run("list", "-o", "json").stdout)


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def test_the_secret_alone_is_on_stdout_and_it_is_the_one_that_works(run, keys):
    result = run("create", "deploy", "--scope", "write")
    assert result.exit_code == 0
    secret = result.stdout.strip()
    assert result.stdout == secret + "\n"
    assert len(secret) > 40
    assert "key/deploy created" in result.stderr
    assert secret not in result.stderr
    assert keys.known().valid == (ApiKey("deploy", "write", digest(secret)),)


def test_as_json_it_is_the_resource_and_the_secret(run):
    key = made(run, "deploy", "--scope", "admin")
    assert set(key) == {
        "id",
        "name",
        "scope",
        "state",
        "created_at",
        "created_by",
        "expires_at",
        "revoked_at",
        "secret",
    }
    assert (key["name"], key["scope"], key["state"], key["expires_at"]) == ("deploy", "admin", "valid", None)
    assert key["created_by"].startswith("cli:")


@pytest.mark.parametrize(("text", "span"), [("90d", timedelta(days=90)), ("12h", timedelta(hours=12)),
                                            ("P2W", timedelta(weeks=2))])  # fmt: skip
def test_it_may_end_after_a_while(run, text, span):
    key = made(run, "a", "--scope", "read", "--expires", text)
    left = datetime.fromisoformat(key["expires_at"]) - datetime.fromisoformat(key["created_at"])
    assert abs(left - span) < timedelta(seconds=10)


def test_it_may_end_at_a_time(run):
    key = made(run, "a", "--scope", "read", "--expires", "2999-01-01T01:00:00+01:00")
    assert datetime.fromisoformat(key["expires_at"]) == datetime(2999, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("arguments", [
    ("a",), ("a", "--scope", "owner"), ("a b", "--scope", "read"), ("", "--scope", "read"),
    ("a" * 51, "--scope", "read"),
    (UNKNOWN, "--scope", "read"), ("a", "--scope", "read", "--expires", "soon"),
    ("a", "--scope", "read", "--expires", "-1h"), ("a", "--scope", "read", "--expires", "0"),
    ("a", "--scope", "read", "--expires", "2001-01-01T00:00:00Z"),
    ("a", "--scope", "read", "--expires", "2999-01-01T00:00:00"),
])  # fmt: skip
def test_nonsense_is_refused_and_makes_nothing(run, audit, arguments):
    assert run("create", *arguments).exit_code == 2
    assert listed(run) == []
    assert audit() == []


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_list_shows_no_secret_and_nothing_made_of_it(run, output):
    secrets = [made(run, name, "--scope", "read")["secret"] for name in ("a", "b")]
    shown = run("list", "-o", output).stdout
    assert "read" in shown
    for secret in secrets:
        assert secret not in shown
        assert digest(secret).hex() not in shown


def test_a_key_is_revoked_by_its_name_once(run, keys, audit):
    made(run, "deploy", "--scope", "write")
    for _ in range(2):
        result = run("revoke", "deploy", "--reason", "left the company")
        assert (result.exit_code, result.stdout) == (0, "key/deploy revoked\n")
    assert keys.known().valid == ()
    assert [key["state"] for key in listed(run)] == ["revoked"]
    assert [row[:3] for row in audit()] == [
        ("key.created", "deploy", None),
        ("key.revoked", "deploy", "left the company"),
    ]


def test_the_audit_tells_who_and_what_but_no_secret(run, audit):
    key = made(run, "deploy", "--scope", "write")
    run("revoke", key["id"])
    (_, _, _, before, after, actor), (_, _, _, revoked_before, revoked_after, _) = audit()
    assert before is None
    assert after == {"id": key["id"], "scope": "write", "expires_at": None}
    assert actor.startswith("cli:")
    assert revoked_before == {"id": key["id"], "revoked_at": None}
    assert revoked_after["revoked_at"] is not None
    assert key["secret"] not in str(audit())


def test_a_secret_is_replaced_without_a_gap(run, keys):
    old, new = (made(run, "deploy", "--scope", "write") for _ in range(2))
    assert {key.digest for key in keys.known().valid} == {digest(old["secret"]), digest(new["secret"])}
    refused = run("revoke", "deploy")
    assert refused.exit_code == 4
    assert old["id"] in refused.stderr
    assert new["id"] in refused.stderr
    assert len(keys.known().valid) == 2
    assert run("revoke", old["id"]).exit_code == 0
    assert [key.digest for key in keys.known().valid] == [digest(new["secret"])]
    assert run("revoke", "deploy").exit_code == 0
    assert keys.known().valid == ()


def test_all_keys_of_a_name_are_revoked_together(run, keys):
    for name in ("deploy", "deploy", "other"):
        made(run, name, "--scope", "read")
    result = run("revoke", "deploy", "--all", "-o", "json")
    assert [key["state"] for key in json.loads(result.stdout)] == ["revoked", "revoked"]
    assert [key.name for key in keys.known().valid] == ["other"]


@pytest.mark.parametrize("name", ["nobody", UNKNOWN])
def test_an_unknown_key_is_not_found(run, name):
    assert run("revoke", name).exit_code == 3


def test_without_postgres_it_says_so(redis_url):
    environment = {"DATABASE_URL": "postgresql://x@127.0.0.1:1/x", "REDIS_URL": redis_url}
    for arguments in (["list"], ["create", "a", "--scope", "read"], ["revoke", "a"]):
        assert CliRunner(env=environment).invoke(main, ["key", *arguments]).exit_code == 5


@pytest.mark.parametrize("output", ["text", "json"])
def test_the_settings_show_the_keys_of_the_environment_without_their_secrets(output):
    secrets = ["canary-secret-0123456789", "canary-secret-abcdefghij"]
    environment = {"API_KEYS": f"a:read:{secrets[0]},b:admin:{secrets[1]}"}
    shown = CliRunner(env=environment).invoke(main, ["config", "show", "-o", output]).stdout
    assert "a:read:•••,b:admin:•••" in shown
    for secret in secrets:
        assert secret not in shown
        assert digest(secret).hex() not in shown
        assert str(digest(secret)) not in shown
