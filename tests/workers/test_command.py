"""`ledger worker` for people: what it says of itself, of others, and of what is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from ledger_workers.heartbeat import Beat, Heartbeat

from ledger.cli import main
from ledger.runtime.database import Database

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def run(database: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, ["worker", *words])


def test_workers_are_listed_while_they_beat(run, database: str) -> None:
    with_pool = Database(database)
    heartbeat = Heartbeat(with_pool, ["mail", "default"], 7)
    heartbeat.beat([Beat("host-2-bbbb", 2, 0, stopping=True), Beat("host-1-aaaa", 1, 3, stopping=False)])
    heartbeat.beat([Beat("host-1-aaaa", 1, 5, stopping=False)])
    found = {each["id"]: each for each in json.loads(run("list", "-o", "json").stdout)}
    one = found["host-1-aaaa"]
    assert (one["pid"], one["running"], one["concurrency"], one["queues"]) == (1, 5, 7, ["mail", "default"])
    assert one["alive"]
    assert found["host-2-bbbb"]["stopping"]
    assert "host-1-aaaa" in run("list").stdout
    heartbeat.leave("host-1-aaaa")
    assert "host-1-aaaa" not in run("list").stdout
    with_pool.close()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["myapp"], "such as myapp.jobs:ledger"),
        (["myapp:ledger", "--queues", "a:1,b"], "give one to all or to none"),
        (["myapp:ledger", "--concurrency", "0"], "1<=x"),
        ([], "Missing argument 'APP'"),
    ],
)
def test_wrong_words_are_a_usage_error(run, words: list[str], says: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert says in result.output


def test_help_has_an_example(run) -> None:
    assert "ledger worker myapp.jobs:ledger" in run("--help").output
    assert "ledger worker list" in run("list", "--help").output
