"""The MCP server as an assistant sees it: the SDK's client on stdio, every tool on real servers."""

from __future__ import annotations

import getpass
import json
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from tests.support.assistant import Assistant, assistant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.servers import Servers

UNKNOWN = "019f7c3e-5a10-7000-8000-000000000000"

INHERITED = {
    "enqueue_job": ["type", "payload", "queue", "priority", "max_retries", "delay"],
    "get_job": ["id"],
    "delete_job": ["id"],
    "list_queues": [],
    "get_queue_depth": ["name"],
    "list_dlq": ["limit", "offset", "type", "queue"],
    "get_dlq_job": ["id"],
    "retry_dlq_job": ["id"],
    "delete_dlq_job": ["id"],
    "list_executions": ["limit", "offset", "type", "state"],
    "get_job_executions": ["job_id"],
    "get_stats": [],
    "health_check": [],
}
READING = {
    "get_dlq_job",
    "get_job",
    "get_job_events",
    "get_job_executions",
    "get_queue_depth",
    "get_queue_stats",
    "get_stats",
    "health_check",
    "list_dlq",
    "list_executions",
    "list_jobs",
    "list_queues",
    "list_schedules",
}
CHANGING = {
    "cancel_job",
    "create_schedule",
    "delete_dlq_job",
    "delete_job",
    "delete_schedule",
    "discard_dlq",
    "enqueue_job",
    "pause_queue",
    "pause_schedule",
    "resume_queue",
    "resume_schedule",
    "retry_dlq",
    "retry_dlq_job",
    "retry_job",
    "run_schedule",
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory without servers of its own."""
    return tmp_path_factory.mktemp("here")


@pytest.fixture(scope="module", autouse=True)
def _read_models(refresh: Callable[[], None]) -> None:
    refresh()


@pytest.fixture(scope="module")
def ai(here: Path, module_database: str, servers: Servers) -> Iterator[Assistant]:
    # Keys and limits are for requests from outside; the user whose process this is needs none.
    closed = {"API_KEYS": "someone:read:0123456789abcdef", "API_RATE_LIMIT": "1"}
    with assistant(here, DATABASE_URL=module_database, REDIS_URL=servers.redis_url, **closed) as ai:
        yield ai


def test_the_server_names_itself_and_exactly_these_tools(ai: Assistant):
    assert ai.server == ("ledger", version("jobledger"))
    tools = ai.tools()
    assert tools.keys() == READING | CHANGING
    for name, arguments in INHERITED.items():
        assert list(tools[name].input_schema["properties"])[: len(arguments)] == arguments, name
    assert tools["enqueue_job"].input_schema["required"] == ["type"]
    assert tools["retry_dlq"].input_schema["required"] == ["filter"]
    assert tools["retry_dlq"].input_schema["properties"]["dry_run"]["default"] is True
    for name, tool in tools.items():
        assert tool.description, name
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint == (name in READING), name
        for argument, schema in tool.input_schema["properties"].items():
            assert schema["description"], f"{name} {argument}"


def test_read_only_offers_reading_tools_only(here: Path, module_database: str, servers: Servers):
    environment = {"DATABASE_URL": module_database, "REDIS_URL": servers.redis_url}
    with assistant(here, "--read-only", **environment) as ai:
        assert ai.tools().keys() == READING
        assert ai.done("list_jobs", type="never.used") == []
        for name in CHANGING:
            assert ai.refused(name, id=UNKNOWN)["code"] == "forbidden", name


def test_a_job_from_enqueue_to_its_history(ai: Assistant, name: str):
    payload = {"n": 1.5, "ä": [None]}
    job = ai.done("enqueue_job", type=name, payload=payload, queue=name, delay="1h", metadata={"a": "b"})
    assert (job["state"], job["payload"], job["metadata"]) == ("scheduled", payload, {"a": "b"})
    assert ai.done("get_job", id=job["id"]) == job
    cancelled = ai.done("cancel_job", id=job["id"], reason="changed my mind")
    assert cancelled["state"] == "cancelled"
    events = ai.done("get_job_events", id=job["id"])
    assert [event["kind"] for event in events] == ["scheduled", "cancelled"]
    assert {event["actor"] for event in events} == {f"mcp:{getpass.getuser()}"}
    assert events[1]["data"]["reason"] == "changed my mind"
    assert ai.done("delete_job", id=job["id"])["status"] == "deleted"
    assert ai.done("get_job_executions", job_id=job["id"]) == []


def test_the_same_key_makes_one_job(ai: Assistant, name: str):
    wanted = {"type": name, "idempotency_key": name}
    assert ai.done("enqueue_job", **wanted)["id"] == ai.done("enqueue_job", **wanted)["id"]
    assert ai.refused("enqueue_job", **wanted, queue="other")["code"] == "idempotency_key_reused"


def test_lists_go_on_where_they_ended(ai: Assistant, name: str, refresh):
    made = [ai.done("enqueue_job", type=name, queue=name)["id"] for _ in range(3)]
    refresh()
    first = ai.call("list_jobs", type=name, limit=2)
    assert [job["id"] for job in first.json] == made[:0:-1]
    cursor = first.texts[1].partition("cursor=")[2]
    rest = ai.call("list_jobs", type=name, limit=2, cursor=cursor)
    assert [job["id"] for job in rest.json] == made[:1]
    assert len(rest.texts) == 1
    assert [job["id"] for job in ai.done("list_jobs", queue=name, state="queued", order="asc", limit=1.0)] == made[:1]


def test_queues_and_numbers(ai: Assistant, name: str, refresh):
    ai.done("enqueue_job", type=name, queue=name, priority="critical")
    refresh()
    (queue,) = [each for each in ai.done("list_queues") if each["name"] == name]
    assert (queue["ready"], queue["paused"]) == (1, False)
    assert ai.done("get_queue_depth", name=name) == {"queue": name, "depth": 1}
    assert ai.done("get_queue_stats", name=name)["depth_by_priority"]["critical"] == 1
    assert ai.done("get_stats")["jobs"]["ready"] >= 1
    assert ai.refused("get_queue_depth", name="no/queue")["code"] == "not_found"


def test_dead_letters_one_by_one(ai: Assistant, name: str, lives, refresh):
    ids = [lives.enqueue(name, queue=name) for _ in range(3)]
    for job_id in ids:
        lives.die(job_id)
    refresh()
    letters = ai.done("list_dlq", queue=name, limit=2, offset=1)
    assert [letter["job_id"] for letter in letters] == [str(job_id) for job_id in ids[1::-1]]
    assert ai.done("get_dlq_job", id=letters[0]["id"]) == letters[0]
    assert [run["state"] for run in ai.done("list_executions", type=name, state="dead")] == ["dead"] * 3
    assert len(ai.done("get_job_executions", job_id=str(ids[0]))) == 1
    assert ai.done("retry_dlq_job", id=letters[0]["id"])["state"] == "ready"
    again = ai.refused("retry_dlq_job", id=letters[0]["id"])
    assert (again["status"], again["code"], again["state"]) == (409, "state_conflict", "ready")
    assert ai.done("delete_dlq_job", id=str(ids[0]))["state"] == "discarded"
    assert ai.done("retry_job", id=str(ids[2]), reason="mended")["state"] == "ready"
    refresh()
    assert ai.refused("get_dlq_job", id=letters[0]["id"])["detail"] == "job not found in DLQ"


def test_dead_letters_by_the_hundred_are_counted_first(ai: Assistant, name: str, lives, refresh):
    for _ in range(3):
        lives.die(lives.enqueue(name, queue=name))
    refresh()
    assert [e["pointer"] for e in ai.refused("retry_dlq", all=True, dry_run=False)["errors"]] == ["/filter"]
    assert ai.refused("retry_dlq", filter={})["code"] == "validation_failed"
    counted = ai.done("retry_dlq", filter={"queue": name})
    assert (counted["dry_run"], counted["matched"], counted["changed"]) == (True, 3, 0)
    retried = ai.done("retry_dlq", filter={"queue": name}, dry_run=False, limit=2, reason="mended")
    assert (retried["changed"], retried["remaining"]) == (2, 1)
    refresh()
    given_up = ai.done("discard_dlq", filter={"queue": name}, dry_run=False)
    assert given_up["changed"] == 1
    refresh()
    assert ai.done("list_dlq", queue=name) == []


def test_a_queue_is_paused_and_resumed(ai: Assistant, name: str):
    paused = ai.done("pause_queue", name=name, reason="mending")
    assert (paused["paused"], paused["paused_by"]) == (True, f"mcp:{getpass.getuser()}")
    assert paused["pause_reason"] == "mending"
    assert ai.done("resume_queue", name=name)["paused"] is False


def test_a_schedule_from_creation_to_deletion(ai: Assistant, name: str):
    wanted = {"name": name, "job_type": name, "cron_expression": "0 3 * * *", "payload": {"n": 1}}
    made = ai.done("create_schedule", **wanted, timezone="Europe/Berlin", overlap="skip")
    assert (made["timezone"], made["overlap"], made["is_active"]) == ("Europe/Berlin", "skip", True)
    assert ai.refused("create_schedule", **wanted)["code"] == "schedule_exists"
    assert name in {schedule["name"] for schedule in ai.done("list_schedules")}
    assert ai.done("pause_schedule", id=made["id"])["is_active"] is False
    job = ai.done("run_schedule", id=name)
    assert (job["type"], job["payload"], job["schedule_id"]) == (name, {"n": 1}, made["id"])
    assert ai.done("get_job_events", id=job["id"])[0]["actor"] == f"mcp:{getpass.getuser()}"
    assert ai.done("resume_schedule", id=name)["next_run_at"] is not None
    assert ai.done("delete_schedule", id=name)["status"] == "deleted"
    assert ai.refused("run_schedule", id=name)["status"] == 404
    broken = ai.refused("create_schedule", **wanted | {"cron_expression": "61 * * * *"})
    assert [each["pointer"] for each in broken["errors"]] == ["/cron_expression"]


@pytest.mark.parametrize(
    ("tool", "arguments", "code", "place"),
    [
        ("enqueue_job", {}, "validation_failed", "/type"),
        ("enqueue_job", {"type": "a", "delay": "soon"}, "validation_failed", "/delay"),
        ("enqueue_job", {"type": "a", "priority": "urgent"}, "validation_failed", "/priority"),
        ("enqueue_job", {"type": "a", "max_retries": -1}, "validation_failed", "/max_retries"),
        ("enqueue_job", {"type": "a", "payload": [1]}, "validation_failed", "/payload"),
        ("enqueue_job", {"type": "a", "payload": {"n": 2**64}}, "validation_failed", "/payload/n"),
        ("enqueue_job", {"type": "a", "payload": {"s": "\x00"}}, "validation_failed", "/payload/s"),
        ("enqueue_job", {"type": "a", "queue": None}, "validation_failed", "/queue"),
        ("enqueue_job", {"type": "a", "ttl": 1}, "validation_failed", "/ttl"),
        ("enqueue_job", {"type": "a", "payload": {"s": "x" * 2**20}}, "too_large", "/payload"),
        ("get_job", {}, "validation_failed", "/id"),
        ("get_job", {"id": 7}, "validation_failed", "/id"),
        ("get_job", {"id": UNKNOWN, "version": 1}, "validation_failed", "/version"),
        ("cancel_job", {"id": UNKNOWN, "reason": "x" * 501}, "validation_failed", "/reason"),
        ("list_dlq", {"limit": None}, "validation_failed", "/limit"),
        ("list_dlq", {"limit": 0}, "invalid_parameter", "limit"),
        ("list_dlq", {"limit": "all"}, "invalid_parameter", "limit"),
        ("list_dlq", {"offset": 10_001}, "invalid_parameter", "offset"),
        ("list_executions", {"state": "pending"}, "invalid_parameter", "state"),
        ("list_jobs", {"state": "failed"}, "invalid_parameter", "state"),
        ("list_jobs", {"cursor": "x"}, "invalid_parameter", "cursor"),
    ],
)
def test_bad_arguments_are_named(ai: Assistant, tool: str, arguments: dict, code: str, place: str):
    problem = ai.refused(tool, **arguments)
    assert problem["code"] == code
    assert place in {each.get("pointer", each.get("parameter")) for each in problem["errors"]}


@pytest.mark.parametrize("tool", ["get_job", "delete_job", "cancel_job", "retry_job", "get_job_events"])
@pytest.mark.parametrize("id_", [UNKNOWN, "no-id", "", "../queues", f"{UNKNOWN}/events", "%2e", "ä"])
def test_what_names_nothing_is_not_found(ai: Assistant, tool: str, id_: str):
    assert ai.refused(tool, id=id_)["status"] == 404


def test_a_tool_that_is_not_there(ai: Assistant):
    assert ai.refused("drop_table")["code"] == "not_found"


def test_health(ai: Assistant):
    checks = {"postgres": "ok", "migrations": "ok", "redis": "ok"}
    assert ai.done("health_check") == {"status": "ok", "checks": checks}


@pytest.mark.parametrize("url", ["postgresql://ledger@127.0.0.1:1/ledger", None])
def test_d33_a_missing_postgres_is_an_answer_and_no_crash(here: Path, servers: Servers, url: str | None):
    environment = {"REDIS_URL": servers.redis_url, **({"DATABASE_URL": url} if url else {})}
    with assistant(here, **environment) as ai:
        for _ in range(2):
            assert ai.refused("get_job", id=UNKNOWN)["code"] == "unavailable"
            assert ai.refused("enqueue_job", type="a")["status"] == 503
        health = ai.done("health_check")
        assert health["status"] == "unhealthy"
        assert (health["checks"]["postgres"], health["checks"]["migrations"]) == ("unavailable", "unknown")
        assert len(ai.tools()) == len(READING | CHANGING)


def test_stdout_carries_the_protocol_only(here: Path, module_database: str, servers: Servers):
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "get_stats", "arguments": {}}}
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    done = subprocess.run(
        [sys.executable, "-m", "ledger", "mcp"],
        input="".join(json.dumps(message) + "\n" for message in (hello, ready, call)),
        env={
            "DATABASE_URL": module_database,
            "REDIS_URL": servers.redis_url,
            "LOG_LEVEL": "debug",
            "REDIS_POOL_SIZE": "10",
        },
        cwd=here,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["jsonrpc"] for answer in answers] == ["2.0"] * len(answers)
    assert answers[0]["result"]["serverInfo"]["name"] == "ledger"
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert all(line["service"] == "mcp" for line in said)
    assert [line["advice"] for line in said if line["event"] == "settings ignored"] == [
        ["Ledger ignores REDIS_POOL_SIZE; use REDIS_URL for where Redis is; nothing else is to be set"]
    ]


def test_a_bad_setting_ends_it_at_once(here: Path):
    done = subprocess.run(
        [sys.executable, "-m", "ledger", "mcp"],
        env={"API_TIMEOUT": "soon"},
        cwd=here,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "API_TIMEOUT" in done.stderr
    assert not done.stdout


def test_without_its_sdk_it_says_what_to_install(here: Path):
    code = "import sys; sys.modules['mcp'] = None; from ledger.cli import main; main(['mcp'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=here, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "pip install 'jobledger[mcp]'" in done.stderr
    assert not done.stdout
