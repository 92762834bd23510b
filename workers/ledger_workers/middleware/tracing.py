"""Tracing: one CONSUMER span a run, linked to the span that enqueued the job; attempts are siblings.

Follows OpenTelemetry's conventions for messaging. Where the application has set up no SDK there is nobody to receive a
span, and none is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import Link, ProxyTracerProvider, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.handlers import Job

_PROPAGATOR = TraceContextTextMapPropagator()


def tracing(job: Job, call_next: Callable[[Job], Any]) -> Any:
    """Run inside a span, so that the handler's own spans nest in it."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, ProxyTracerProvider):
        return call_next(job)
    tracer = provider.get_tracer("ledger")
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
