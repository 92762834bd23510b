"""The write door: what an application, the API and the command line use to make jobs and to change them.

A job is made by one append; how it is changed say `ledger.verbs`. Everything acknowledged is durable, except inside a
caller's own transaction: there the job exists exactly if the caller commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ledger.aio import Threads, twin
from ledger.bound import BoundHandler
from ledger.enqueue_chain import EnqueueChain, Enqueueing, Gathered, check_defaults
from ledger.errors import Breach, InvalidRequest, LedgerError
from ledger.events import Enqueued
from ledger.handlers import Handlers, Middleware, callables, error_rules
from ledger.opening import Made, Repeated, actor_now, opened, opening, spelled, taken
from ledger.payloads import written
from ledger.requests import Submission, submission
from ledger.schedules_in_code import CodeSchedules, SchedulesInCode
from ledger.store import PostgresStore, Store
from ledger.verbs import Verbs
from ledger.wake import MOST_BY_HAND, News

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from uuid import UUID

    from ledger.handlers import Duration, Errors, Executor, Level
    from ledger.log import Append
    from ledger.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")


class Ledger(SchedulesInCode, Enqueueing, Verbs):
    """An application's jobs: their handlers, and the door to the log. Connects when it is first used.

    Without arguments the environment says where Postgres and Redis are; where it does not, the servers that `ledger
    dev` keeps in `.ledger/` are used. Safe to share by threads. Raises InvalidSettings for an environment that makes no
    sense.
    """

    def __init__(
        self,
        *,
        database_url: str | None = None,
        redis_url: str | None = None,
        settings: Settings | None = None,
        actor: str | None = None,
    ) -> None:
        super().__init__(database_url=database_url, redis_url=redis_url, settings=settings)
        self.actor = actor
        self.store: Store = PostgresStore(self)
        self.threads = Threads(lambda: self.settings.database_pool_size)
        self.handlers = Handlers()
        self.schedules = CodeSchedules()
        self.middleware: list[Middleware] = []
        self.enqueue_chain = EnqueueChain()

    def job(
        self,
        type: str,  # noqa: A002 — the user's word for it
        *,
        queue: str | None = None,
        priority: Level | None = None,
        max_retries: int | None = None,
        timeout: Duration | None = None,
        retry: Mapping[str, Any] | None = None,
        executor: Executor = "thread",
        version: int = 1,
        retry_on: Errors | None = None,
        give_up_on: Errors | None = None,
    ) -> Callable[[Callable[P, R]], BoundHandler[P, R]]:
        """Register a function as the handler of a type; the options are the defaults of its own `.enqueue`.

        The function stays callable. Its payload is of `version`; older ones are lifted by the handler's `upcast`s. Of
        its exceptions those in `retry_on` are retried and all others not; or all but those in `give_up_on` are. Raises
        ValueError for a type registered twice, or a parameter named like an option, and InvalidRequest for an option
        that no job could have.
        """
        rules = error_rules(retry_on, give_up_on)
        options = {"queue": queue, "priority": priority, "max_retries": max_retries, "timeout": timeout, "retry": retry}
        given = {name: value for name, value in options.items() if value is not None}
        check_defaults({"type": type, **given})
        if version != 1:
            given["payload_version"] = version

        def register(function: Callable[P, R]) -> BoundHandler[P, R]:
            handler = BoundHandler(self, function, type, given, executor, version=version, rules=rules)
            self.handlers.add(handler)
            return handler

        return register

    def use(self, *middleware: Middleware) -> None:
        """Wrap every run in these, outermost first: `(job, call_next) -> result`."""
        self.middleware.extend(callables(middleware))

    def close(self) -> None:
        super().close()
        self.threads.close()

    def enqueue(
        self,
        type: str,  # noqa: A002
        payload: Any = None,
        *,
        connection: Any = None,
        **options: Any,
    ) -> UUID:
        """Make a job and return its id.

        Options: queue, priority, max_retries, timeout, delay or run_at, expires_at, deadline, retry, metadata,
        idempotency_key, correlation_id, job_id, payload_version. With `connection` (psycopg's, SQLAlchemy's
        Connection or Session, Django's) it joins the caller's transaction: commit and rollback, also to a savepoint,
        decide whether the job exists. Raises InvalidRequest, JobExists, IdempotencyConflict, IdempotencyKeyInUse,
        Unavailable.
        """
        return self.enqueue_chain.enqueue(
            {"type": type, "payload": payload, **spelled(options)},
            lambda request: self.submit(self._check(request, _payload(request)), connection=connection).job_id,
        )

    def enqueue_many(self, jobs: Iterable[Mapping[str, Any]], *, connection: Any = None) -> list[UUID]:
        """Make many jobs, all or none, and return their ids in order.

        Each is a mapping with the field names of a request to enqueue (`type`, `payload`, `queue`, …). Raises as
        `enqueue` does, with the number of the job in front of each breach.
        """
        if self.enqueue_chain.layers:
            return self._enqueue_through_layers(jobs, connection)
        wanted = self._check_all(list(jobs))
        return [made.job_id for made in self.submit_all(wanted, connection=connection)]

    def submit(
        self, wanted: Submission, *, connection: Any = None, actor: str | None = None, traceparent: str | None = None
    ) -> Made:
        """Make the job of a request that was checked already; what `enqueue` and the API end in."""
        append = opening(wanted, actor_now(actor or self.actor), self.now(), traceparent)
        if connection is None and wanted.request.idempotency_key is None:
            (recorded,) = taken(self.log.append([append]))
            made = Made(append.job_id, opened(append, recorded))
        else:
            (made,) = self.store.make_all([wanted], [append], connection)
        self._tell([append], [made], connection)
        return made

    def submit_each(
        self, wanted: Sequence[Submission], *, actor: str | None = None, traceparent: str | None = None
    ) -> list[Made | LedgerError]:
        """Make jobs independently of each other; where one cannot be made, its error stands in its place."""
        who, now = actor_now(actor or self.actor), self.now()
        appends = [opening(each, who, now, traceparent) for each in wanted]
        made = self.store.make_each(wanted, appends)
        self._tell(appends, made)
        return made

    def submit_all(
        self,
        wanted: Sequence[Submission],
        *,
        connection: Any = None,
        actor: str | None = None,
        traceparent: str | None = None,
    ) -> list[Made]:
        """Make jobs all or none; raise for the first that cannot be made."""
        who, now = actor_now(actor or self.actor), self.now()
        appends = [opening(each, who, now, traceparent) for each in wanted]
        made = self.store.make_all(wanted, appends, connection)
        self._tell(appends, made, connection)
        return made

    def checked(self, members: Mapping[str, Any], payload: bytes) -> Submission:
        """Check a request as JSON spells it; raise InvalidRequest with every breach."""
        return submission(members, payload, self.settings, self.now(), from_json=True)

    aenqueue = twin(enqueue)
    aenqueue_many = twin(enqueue_many)

    def _tell(self, appends: Sequence[Append], made: Sequence[Made | LedgerError], connection: Any = None) -> None:
        """Bring the messages of a few ready jobs that are on record; leave all else to the dispatcher."""
        if connection is not None or len(appends) > MOST_BY_HAND:
            self.waker.wake(*{append.queue for append in appends})
            return
        for append, each in zip(appends, made, strict=True):
            if not isinstance(each, Made) or each.replayed:
                continue
            (event,) = append.events
            if isinstance(event, Enqueued) and event.request is not None:
                self.waker.ready(News(append.queue, append.priority, append.job_id, 1, 1, event.request.type))
            else:
                self.waker.wake()

    def _enqueue_through_layers(self, jobs: Iterable[Mapping[str, Any]], connection: Any) -> list[UUID]:
        gathered = Gathered()
        promised = [self.enqueue_chain.enqueue(spelled(job), gathered.take) for job in jobs]
        wanted = gathered.named(self._check_all(gathered.requests))
        made = self.submit_all(wanted, connection=connection)
        return gathered.answers(promised, [each.job_id for each in made])

    def _check(self, members: Mapping[str, Any], payload: bytes) -> Submission:
        return submission(self.enqueue_chain.complete(members), payload, self.settings, self.now())

    def _check_all(self, jobs: Sequence[Mapping[str, Any]]) -> list[Submission]:
        wanted: list[Submission] = []
        breaches: list[Breach] = []
        check = Repeated(lambda job, payload: self._check(spelled(job), payload), self.settings.job_max_payload)
        for index, job in enumerate(jobs):
            try:
                wanted.append(check(job, _payload(job)))
            except InvalidRequest as error:
                breaches += [Breach(f"/{index}{b.pointer}", b.detail, b.too_large) for b in error.breaches]
        if breaches:
            raise InvalidRequest(breaches)
        return wanted


def _payload(job: Mapping[str, Any]) -> bytes:
    if job.__class__ is not dict and not isinstance(job, Mapping):
        raise InvalidRequest([Breach("", "must be a mapping with the fields of a request")])
    return written(job.get("payload"))
