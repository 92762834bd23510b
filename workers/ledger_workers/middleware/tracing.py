"""Tracing: one CONSUMER span a run, linked to the span that enqueued the job; attempts are siblings.

Follows OpenTelemetry's conventions for messaging. Where the application has set up no SDK there is nobody to receive a
span, and none is made.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import Link, ProxyTracerProvider, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Tracer

    from ledger.handlers import Job

_LOOK_EVERY = 0.1
_PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """Runs each job inside a span, so that the handler's own spans nest in it."""

    def __init__(self) -> None:
        self._tracer: Tracer | None = None
        self._look_at = 0.0

    def __call__(self, job: Job, call_next: Callable[[Job], Any]) -> Any:
        tracer = self._tracer or self._found()
        return call_next(job) if tracer is None else _traced(tracer, job, call_next)

    def _found(self) -> Tracer | None:
        """Return the application's tracer, once it has one. Looked for now and then: an SDK may be set up late."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY
            provider = trace.get_tracer_provider()
            if not isinstance(provider, ProxyTracerProvider):
                self._tracer = provider.get_tracer("ledger")
        return self._tracer


def _traced(tracer: Tracer, job: Job, call_next: Callable[[Job], Any]) -> Any:
    with tracer.start_as_current_span(
        f"process {job.queue}", kind=SpanKind.CONSUMER, links=_links(job.traceparent), attributes=_attributes(job)
    ):
        return call_next(job)


def _links(traceparent: str | None) -> list[Link]:
    if traceparent is None:
        return []
    context = _PROPAGATOR.extract({"traceparent": traceparent})
    return [Link(trace.get_current_span(context).get_span_context())]


def _attributes(job: Job) -> dict[str, str | int]:
    return {
        "messaging.system": "ledger",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": job.queue,
        "messaging.message.id": str(job.id),
        "messaging.message.conversation_id": job.correlation_id,
        "ledger.job.type": job.type,
        "ledger.job.attempt": job.attempt,
        "ledger.worker.id": job.worker_id,
    }
