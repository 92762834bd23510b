"""The WSGI application: routes, middleware and errors, wired by hand. It connects with the first request, no sooner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import falcon
from ledger_migrations.revisions import newest

from ledger.api_keys import ApiKeys
from ledger_api import (
    bulk_actions,
    bulk_enqueue,
    dead_letters,
    executions,
    health,
    history,
    jobs,
    notes,
    operations,
    problems,
    queues,
    schedules,
)
from ledger_api.auth import Keyring
from ledger_api.metrics import Metrics
from ledger_api.middleware.access_log import AccessLog
from ledger_api.middleware.authentication import Authentication
from ledger_api.middleware.browsers import BrowserGuard, is_loopback
from ledger_api.middleware.methods import UnknownMethods
from ledger_api.middleware.rate_limit import RateLimit
from ledger_api.middleware.request_id import RequestId
from ledger_api.middleware.time_limit import TimeLimit
from ledger_api.openapi import endpoint
from ledger_api.pages import Lag

if TYPE_CHECKING:
    from ledger_projections.queries import Queries

    from ledger import Ledger
    from ledger.settings import Settings

BASE = "/api/v1"

App = falcon.App[falcon.Request, falcon.Response]


def create_app(ledger: Ledger, queries: Queries, settings: Settings, *, insecure: bool = False) -> App:
    """Return the API over these two doors; `insecure` serves the network even while there are no keys."""
    metrics = Metrics(queries)
    middleware: list[Any] = [
        RequestId(),
        AccessLog(metrics),
        TimeLimit(settings.api_timeout),
        *_guards(ledger, settings, insecure=insecure),
    ]
    app: App = falcon.App(middleware=middleware)
    problems.install(app)
    routes = {**_probes(ledger), "/metrics": metrics}
    routes |= {BASE + path: resource for path, resource in _routes(ledger, queries, Lag(queries)).items()}
    routes |= _description(routes)
    for path, resource in routes.items():
        _add(app, path, resource)
    return app


def _guards(ledger: Ledger, settings: Settings, *, insecure: bool) -> list[Any]:
    """Return what may refuse a request before it reaches its responder, in the order of refusal: 405 401 403 429."""
    is_closed = not insecure and not is_loopback(settings.api_host)
    keyring = Keyring(settings.api_keys, ApiKeys(ledger.database), is_closed=is_closed)
    limits = [] if settings.api_rate_limit is None else [RateLimit(settings.api_rate_limit)]
    return [UnknownMethods(), Authentication(keyring), BrowserGuard(settings.api_host), *limits]


def _probes(ledger: Ledger) -> dict[str, Any]:
    readiness = health.Readiness(ledger, newest())
    alive, ready = health.Alive(), health.Ready(readiness)
    return {
        "/health": alive,
        "/livez": alive,
        "/ready": ready,
        "/readyz": ready,
        "/startupz": health.Started(readiness),
    }


def _routes(ledger: Ledger, queries: Queries, lag: Lag) -> dict[str, Any]:
    return {
        "/jobs": jobs.Jobs(ledger, queries, lag),
        "/jobs/bulk": bulk_enqueue.BulkEnqueue(ledger),
        "/jobs/cancel": bulk_actions.Cancel(ledger, queries, lag),
        "/jobs/{job_id}": jobs.Job(ledger),
        "/jobs/{job_id}/events": history.History(ledger),
        "/jobs/{job_id}/notes": notes.Notes(ledger),
        "/jobs/{job_id}/cancel": jobs.Cancel(ledger),
        "/jobs/{job_id}/retry": jobs.Retry(ledger),
        "/jobs/{job_id}/run-now": jobs.RunNow(ledger),
        "/queues": queues.Queues(queries, lag),
        "/queues/{name}/depth": queues.Depth(queries, lag),
        "/queues/{name}/stats": queues.Stats(queries, lag),
        "/queues/{name}/pause": queues.Pause(ledger, queries, lag),
        "/queues/{name}/resume": queues.Resume(ledger, queries, lag),
        "/dlq": dead_letters.DeadLetters(queries, lag),
        "/dlq/retry": bulk_actions.Retry(ledger, queries, lag),
        "/dlq/discard": bulk_actions.Discard(ledger, queries, lag),
        "/dlq/{id_}": dead_letters.DeadLetter(ledger, queries, lag),
        "/dlq/{id_}/retry": dead_letters.Retry(ledger),
        "/executions": executions.Executions(queries, lag),
        "/executions/{job_id}": executions.JobExecutions(ledger, queries, lag),
        "/schedules": schedules.Schedules(ledger),
        "/schedules/{id_}": schedules.Schedule(ledger),
        "/schedules/{id_}/pause": schedules.Pause(ledger),
        "/schedules/{id_}/resume": schedules.Resume(ledger),
        "/schedules/{id_}/run-now": schedules.RunNow(ledger),
        "/schedules/{id_}/next": schedules.Next(ledger),
        "/stats": operations.Stats(queries, lag),
        "/workers": operations.Workers(queries),
        "/projections": operations.Projections(queries),
    }


def _description(others: dict[str, Any]) -> dict[str, Any]:
    """Return the routes of the document that describes the others, and these."""
    routes: dict[str, Any] = dict(others)
    description = endpoint.Description(routes)
    own = {
        f"{BASE}/openapi.json": endpoint.AsJson(description),
        f"{BASE}/openapi.yaml": endpoint.AsYaml(description),
    }
    routes |= own
    return own


def _add(app: App, path: str, resource: Any) -> None:
    """Route a path, and let every GET answer HEAD too: Falcon then sends the headers alone."""
    if hasattr(resource, "on_get"):
        resource.on_head = resource.on_get
    app.add_route(path, resource)
