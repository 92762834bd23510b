"""What an application has laid around its own enqueues: defaults by queue, and middleware.

A middleware is `(request, call_next) -> job id`. The request is a dict with the field names of a request to enqueue; a
layer may change it or pass on another one, refuse by an exception, or look at the id that comes back. Requests that
come over HTTP or from the command line are not this application's, and pass by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from ledger import ids
from ledger.handlers import callables
from ledger.payloads import Written
from ledger.requests import submission
from ledger.settings import from_env

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.handlers import Duration, Level
    from ledger.requests import Submission
    from ledger.settings import Settings

Request = dict[str, Any]
Enqueue = Callable[[Request], UUID]
EnqueueMiddleware = Callable[[Request, Enqueue], UUID]
"""`(request, call_next) -> job id`, outermost first."""

_ANY_TIME = datetime.min.replace(tzinfo=UTC)


class EnqueueChain:
    """The defaults of queues, and the layers, outermost first."""

    def __init__(self) -> None:
        self.layers: list[EnqueueMiddleware] = []
        self._defaults: dict[str, Request] = {}

    def set_defaults(self, queue: str, defaults: Request) -> None:
        """Take what jobs of a queue are to have where nobody says otherwise; raise InvalidRequest for nonsense."""
        if queue in self._defaults:
            raise ValueError(f"queue {queue!r} has its defaults already; give them in one place")
        check_defaults({"type": "any", "queue": queue, **defaults})
        self._defaults[queue] = defaults

    def complete(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the request with the defaults of its queue where it says nothing itself."""
        queue = request.get("queue", "default")
        defaults = self._defaults.get(queue) if isinstance(queue, str) else None
        if defaults is None:
            return request
        said = {"timeout", *request} if "timeout_seconds" in request else request
        return {name: value for name, value in defaults.items() if name not in said} | dict(request)

    def enqueue(self, request: Request, make: Enqueue) -> UUID:
        """Send a request through the layers to `make`."""
        if not self.layers:
            return make(request)
        call = make
        for layer in reversed(self.layers):
            call = _link(layer, call)
        if isinstance(payload := request.get("payload"), Written):
            request = request | {"payload": msgspec.json.decode(payload)}
        return call(request)


class Gathered:
    """Requests that came through the layers one by one and are made together: each has its id beforehand."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._ids: list[UUID] = []

    def take(self, request: Request) -> UUID:
        """Keep a request, and say which id its job will have."""
        given = request.get("id")
        known = given if isinstance(given, UUID) else ids.parse(given) if isinstance(given, str) else None
        self.requests.append(request)
        self._ids.append(known or ids.mint())
        return self._ids[-1]

    def named(self, wanted: Sequence[Submission]) -> list[Submission]:
        """Return the checked requests, each with the id that was promised for it."""
        return [replace(each, job_id=job_id) for each, job_id in zip(wanted, self._ids, strict=True)]

    def answers(self, promised: Sequence[UUID], made: Sequence[UUID]) -> list[UUID]:
        """Return the ids in order; where an idempotency key stands for an earlier job, that one's."""
        really = dict(zip(self._ids, made, strict=True))
        return [really.get(job_id, job_id) for job_id in promised]


class Enqueueing:
    """The part of an application that says what surrounds its enqueues."""

    enqueue_chain: EnqueueChain

    def queue(
        self,
        name: str,
        *,
        max_retries: int | None = None,
        timeout: Duration | None = None,
        retry: Mapping[str, Any] | None = None,
        priority: Level | None = None,
    ) -> None:
        """Say what this application's jobs of a queue have where neither the request nor their type says it."""
        options = {"max_retries": max_retries, "timeout": timeout, "retry": retry, "priority": priority}
        given = {option: value for option, value in options.items() if value is not None}
        self.enqueue_chain.set_defaults(name, given)

    def use_on_enqueue(self, *middleware: EnqueueMiddleware) -> None:
        """Wrap every enqueue of this application in these, outermost first: `(request, call_next) -> job id`.

        The request is a dict such as `enqueue_many` takes. Of `enqueue_many` each one passes by itself, and the jobs
        are made when all have.
        """
        self.enqueue_chain.layers.extend(callables(middleware))


def check_defaults(members: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for what no request could say, whatever the settings, which are not read yet."""
    retry = members.get("retry")
    if isinstance(retry, Mapping):
        policy: Mapping[str, Any] = retry
        known = policy.get("base", policy.get("max", 1))
        members = {**members, "retry": {"base": known, "max": known, **policy}}
    submission(members, b"{}", _settings(), _ANY_TIME)


@cache
def _settings() -> Settings:
    return from_env({})


def _link(layer: EnqueueMiddleware, call_next: Enqueue) -> Enqueue:
    return lambda request: layer(request, call_next)
