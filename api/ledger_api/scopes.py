"""The scope that each route asks of a key, in one table.

Reading asks for `read`. Everything else must be named below: what is not, asks for `admin`, and a test fails. Probes,
metrics and the description of the API ask for nothing, and no other route does.
"""

from __future__ import annotations

import re
from functools import lru_cache

PROBES = frozenset({"/health", "/livez", "/ready", "/readyz", "/startupz", "/metrics"})
OPEN = PROBES | {"/api/v1/openapi.json", "/api/v1/openapi.yaml"}

SAFE = frozenset({"GET", "HEAD"})

WRITE = frozenset(
    {
        "POST /api/v1/jobs",
        "POST /api/v1/jobs/bulk",
        "DELETE /api/v1/jobs/{}",
        "POST /api/v1/jobs/{}/cancel",
        "POST /api/v1/jobs/{}/retry",
        "POST /api/v1/jobs/{}/run-now",
        "DELETE /api/v1/dlq/{}",
        "POST /api/v1/dlq/{}/retry",
        "POST /api/v1/schedules/{}/run-now",
    }
)
"""Enqueueing, and the verbs on one job, dead letter or tick."""

ADMIN = frozenset(
    {
        "POST /api/v1/jobs/cancel",
        "POST /api/v1/dlq/retry",
        "POST /api/v1/dlq/discard",
        "POST /api/v1/queues/{}/pause",
        "POST /api/v1/queues/{}/resume",
        "POST /api/v1/schedules",
        "PATCH /api/v1/schedules/{}",
        "DELETE /api/v1/schedules/{}",
        "POST /api/v1/schedules/{}/pause",
        "POST /api/v1/schedules/{}/resume",
    }
)
"""Many jobs by a filter, queues and schedules."""

_FIELD = re.compile(r"\{[^}]*\}")


def route(method: str, template: str) -> str:
    """Return the name of a route in these tables."""
    return f"{method} {_FIELD.sub('{}', template)}"


@lru_cache(1024)
def needed(method: str, template: str) -> str | None:
    """Return the scope that a route asks for; None where it asks for no key."""
    if template in OPEN:
        return None
    if method in SAFE:
        return "read"
    return "write" if route(method, template) in WRITE else "admin"
