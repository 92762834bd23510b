"""The middleware every worker has: its order, what it says, measures and traces, and that nothing gets past it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from ledger_workers.metrics import Meters
from ledger_workers.middleware import shipped
from ledger_workers.middleware.logging import Logging
from ledger_workers.middleware.metrics import Metrics
from ledger_workers.middleware.recovery import Escaped, recovery
from ledger_workers.middleware.timeout import timeout
from ledger_workers.middleware.tracing import Tracing
from opentelemetry import trace
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from ledger import Cancel, Job, Permanent, Retry, Snooze, Token, ids
from ledger.errors import JobTimeout
from ledger.handlers import error_rules
from ledger.verdicts import chain
from tests.support.working import ended, send, working

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger import Ledger


def a_job(**changes: Any) -> Job:
    job_id = ids.mint()
    values: dict[str, Any] = {
        "id": job_id, "type": "t", "body": b"{}", "queue": "mail", "priority": "high", "attempt": 1, "retry_count": 0,
        "max_retries": 3, "timeout": timedelta(seconds=60), "metadata": {}, "token": Token(job_id, 2),
        "correlation_id": "c", "worker_id": "w-1",
    }  # fmt: skip
    return Job(**values | changes)


def raising(error: BaseException) -> Any:
    def call(_: Job) -> None:
        raise error

    return call


def test_the_order_is_recovery_logging_timeout_metrics_tracing() -> None:
    layers = shipped(Meters(CollectorRegistry()))
    assert [getattr(layer, "__name__", type(layer).__name__) for layer in layers] == [
        "recovery", "Logging", "timeout", "Metrics", "Tracing",
    ]  # fmt: skip


def test_d07_what_would_end_a_process_becomes_an_ordinary_exception_also_from_the_layers_inside() -> None:
    with pytest.raises(Escaped) as escaped:
        chain([recovery, timeout], raising(SystemExit(3)))(a_job())
    assert isinstance(escaped.value.original, SystemExit)
    with pytest.raises(JobTimeout):
        chain([recovery, timeout], lambda _: None)(a_job(timeout=timedelta(0)))


@pytest.mark.parametrize(
    ("error", "changes", "will_retry"),
    [
        (ValueError(), {}, True),
        (ValueError(), {"retry_count": 2}, True),
        (ValueError(), {"retry_count": 3}, False),
        (ValueError(), {"max_retries": 0}, False),
        (Permanent(), {}, False),
        (Retry(after=5), {"retry_count": 3}, False),
        (Retry(after=5), {}, True),
        (ValueError(), {"rules": error_rules(None, ValueError)}, False),
        (ConnectionError(), {"rules": error_rules(OSError, None)}, True),
        (JobTimeout(1), {}, True),
    ],
)
def test_d29_a_failure_is_logged_with_whether_it_will_be_retried(
    error: Exception, changes: dict[str, Any], will_retry: bool
) -> None:
    job = a_job(**changes)
    with capture_logs() as lines, pytest.raises(type(error)):
        Logging()(job, raising(error))
    failed = lines[-1]
    assert (failed["event"], failed["will_retry"], failed["error_type"]) == ("failed", will_retry, type(error).__name__)
    said = ("job_id", "type", "queue", "priority", "attempt", "worker_id", "lease_version")
    assert tuple(failed[name] for name in said) == (str(job.id), "t", "mail", "high", 1, "w-1", 2)
    assert failed["duration_ms"] >= 0


@pytest.mark.parametrize(("value", "word"), [(1, "succeeded"), (Snooze(1), "snoozed"), (Cancel(), "cancelled")])
def test_what_a_run_came_to_is_logged_and_measured(value: object, word: str) -> None:
    registry = CollectorRegistry()
    with capture_logs() as lines:
        chain([Logging(), Metrics(Meters(registry))], lambda _: value)(a_job())
    assert [line["event"] for line in lines] == ["started", word]
    labels = {"queue": "mail", "type": "t", "outcome": word}
    assert registry.get_sample_value("ledger_job_duration_seconds_count", labels) == 1


def test_a_failure_and_a_time_out_are_measured_as_failed() -> None:
    registry = CollectorRegistry()
    with pytest.raises(ValueError, match="no"):
        Metrics(Meters(registry))(a_job(), raising(ValueError("no")))
    labels = {"queue": "mail", "type": "t", "outcome": "failed"}
    assert registry.get_sample_value("ledger_job_duration_seconds_count", labels) == 1


class Tracers:
    """A provider that remembers the spans it was asked for."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, dict[str, Any]]] = []

    def get_tracer(self, _: str) -> Tracers:
        return self

    @contextmanager
    def start_as_current_span(self, name: str, **options: Any) -> Iterator[None]:
        self.spans.append((name, options))
        yield


def test_a_run_is_a_span_linked_to_the_one_that_enqueued_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tracers = Tracers()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: tracers)
    job = a_job(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert Tracing()(job, lambda _: "done") == "done"
    ((name, options),) = tracers.spans
    assert name == "process mail"
    assert [format(link.context.span_id, "x") for link in options["links"]] == ["b7ad6b7169203331"]
    assert options["attributes"]["messaging.message.id"] == str(job.id)


def test_users_middleware_comes_inside_of_ours_and_its_errors_fail_the_job(ledger: Ledger) -> None:
    names: list[str] = []

    def users(job: Job, call_next: Any) -> Any:
        names.append(threading.current_thread().name)
        if job.payload["veto"]:
            raise PermissionError("not today")
        return call_next(job)

    ledger.use(users)
    ledger.job("any")(lambda veto: veto)
    with working(ledger):
        vetoed = ended(ledger, send(ledger, "any", {"veto": True}, max_retries=0))
        assert ended(ledger, send(ledger, "any", {"veto": False})).state == "succeeded"
    assert (vetoed.failure.error_type, vetoed.failure.error_message) == ("PermissionError", "not today")
    assert all(name.startswith("handler") for name in names)
