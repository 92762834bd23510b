"""What surrounds an application's own enqueues: the defaults of queues, and middleware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ledger import InvalidRequest, Ledger, ids

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from ledger.job import JobState


@pytest.fixture
def app(database: str, redis_url: str) -> Iterator[Ledger]:
    app = Ledger(database_url=database, redis_url=redis_url)
    yield app
    app.close()


def options(job: JobState) -> tuple[Any, ...]:
    request = job.request
    return (job.priority.word, request.max_retries, request.timeout_seconds, request.retry.backoff)


def test_a_queues_defaults_hold_where_request_and_type_say_nothing(app: Ledger) -> None:
    app.queue("mail", max_retries=7, timeout="2m", retry={"backoff": "linear"}, priority="high")
    typed = app.job("typed", queue="mail", max_retries=1)(lambda: None)
    ids_ = [
        app.enqueue("any", queue="mail"),
        app.enqueue("any", queue="mail", priority="low", timeout=5),
        typed.enqueue(),
        typed.enqueue(max_retries=0),
        app.enqueue("any"),
        *app.enqueue_many([{"type": "any", "queue": "mail"}, {"type": "any", "queue": "mail", "timeout_seconds": 9}]),
    ]
    assert [options(app.get(job_id)) for job_id in ids_] == [
        ("high", 7, 120, "linear"),
        ("low", 7, 5, "linear"),
        ("high", 1, 120, "linear"),
        ("high", 0, 120, "linear"),
        ("medium", 3, 300, "exponential"),
        ("high", 7, 120, "linear"),
        ("high", 7, 9, "linear"),
    ]


@pytest.mark.parametrize("wrong", [{"max_retries": -1}, {"timeout": "soon"}, {"priority": "urgent"}])
def test_nonsense_is_refused_where_it_is_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=next(iter(wrong))):
        Ledger().queue("mail", **wrong)


def test_a_queues_defaults_are_said_once() -> None:
    app = Ledger()
    app.queue("mail", max_retries=1)
    with pytest.raises(ValueError, match="already"):
        app.queue("mail", max_retries=2)


def test_middleware_surrounds_an_enqueue_outermost_first(app: Ledger) -> None:
    steps: list[Any] = []

    def outer(request, call_next):
        steps.append(("outer", request["type"], request["payload"]))
        job_id = call_next(request | {"metadata": {"tenant": "t1"}})
        steps.append(job_id)
        return job_id

    def inner(request, call_next):
        steps.append(("inner", request["metadata"]))
        request["queue"] = "elsewhere"
        return call_next(request)

    app.use_on_enqueue(outer, inner)
    handler = app.job("greet")(lambda name: name)
    job_id = handler.enqueue(name="you")
    assert steps == [("outer", "greet", {"name": "you"}), ("inner", {"tenant": "t1"}), job_id]
    job = app.get(job_id)
    assert (job.queue, job.metadata, job.payload) == ("elsewhere", {"tenant": "t1"}, {"name": "you"})


def test_a_layer_may_refuse_and_nothing_is_on_record(app: Ledger) -> None:
    def veto(request, call_next):
        if request["type"] == "forbidden":
            raise PermissionError(request["type"])
        return call_next(request)

    app.use_on_enqueue(veto)
    chosen = ids.mint()
    with pytest.raises(PermissionError):
        app.enqueue_many([{"type": "fine", "id": chosen}, {"type": "forbidden"}])
    assert app.get(app.enqueue("fine", job_id=chosen)).version == 1


def test_of_many_each_passes_by_itself_and_is_told_its_id(app: Ledger) -> None:
    seen: list[UUID] = []

    def layer(request, call_next):
        seen.append(call_next(request | {"queue": request["payload"]["queue"]}))
        return seen[-1]

    app.use_on_enqueue(layer)
    first = app.enqueue("t", {"queue": "a"}, idempotency_key="k")
    jobs = [{"type": "t", "payload": {"queue": queue}} for queue in ("a", "b")]
    made = app.enqueue_many([jobs[0] | {"idempotency_key": "k"}, *jobs])
    assert made[0] == first != seen[1]
    assert made[1:] == seen[2:]
    assert [app.get(job_id).queue for job_id in made] == ["a", "a", "b"]
