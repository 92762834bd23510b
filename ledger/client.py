"""The write door: what an application, the API and the command line use to make jobs and to change them.

A job is made by one append, and changed by reading its history, asking the rules, and appending at the next version; if
another writer was faster, that is done again on what it left. Everything acknowledged is durable, except inside a
caller's own transaction: there the job exists exactly if the caller commits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from uuid import UUID

import msgspec

from ledger import commands, ids, notes, requests
from ledger.aio import Threads, twin
from ledger.doors import Doors
from ledger.enqueue_chain import EnqueueChain, Enqueueing, Gathered
from ledger.errors import Breach, InvalidRequest, JobNotFound, LedgerError, Unavailable, VersionConflict
from ledger.events import Enqueued, Entry
from ledger.handlers import OPTIONS, Handler, Handlers, Middleware, error_rules
from ledger.job import JobState, fold
from ledger.log import Blocked, Recorded, following
from ledger.opening import Made, Repeated, actor_now, opened, opening, payload_bytes, spelled, taken
from ledger.requests import Submission, submission
from ledger.schedules_in_code import CodeSchedules, SchedulesInCode
from ledger.store import PostgresStore, Store

if TYPE_CHECKING:
    from ledger.handlers import Duration, Errors, Executor, Level
    from ledger.notes import Note
    from ledger.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")
Rule = Callable[[JobState, datetime], commands.Events]

BLOCKED_WAIT = timedelta(seconds=5)
"""How long a verb waits for somebody's open transaction that is changing the same job."""


class Ledger(SchedulesInCode, Enqueueing, Doors):
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
        self._actor = actor
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
        ValueError for a type registered twice, or a parameter named like an option.
        """
        rules = error_rules(retry_on, give_up_on)
        options = {
            "queue": queue, "priority": priority, "max_retries": max_retries, "timeout": timeout, "retry": retry,
            "payload_version": version if version != 1 else None,
        }  # fmt: skip
        given = {name: value for name, value in options.items() if value is not None}

        def register(function: Callable[P, R]) -> BoundHandler[P, R]:
            handler = BoundHandler(self, function, type, given, executor, version=version, rules=rules)
            self.handlers.add(handler)
            return handler

        return register

    def use(self, *middleware: Middleware) -> None:
        """Wrap every run in these, outermost first: `(job, call_next) -> result`."""
        self.middleware.extend(middleware)

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
            lambda request: self.submit(self._check(request), connection=connection).job_id,
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
        append = opening(wanted, actor_now(actor or self._actor), self.now(), traceparent)
        if connection is None and wanted.request.idempotency_key is None:
            (recorded,) = taken(self.log.append([append]))
            made = Made(append.job_id, opened(append, recorded))
        else:
            (made,) = self.store.make_all([wanted], [append], connection)
        self.waker.wake()
        return made

    def submit_each(
        self, wanted: Sequence[Submission], *, actor: str | None = None, traceparent: str | None = None
    ) -> list[Made | LedgerError]:
        """Make jobs independently of each other; where one cannot be made, its error stands in its place."""
        who, now = actor_now(actor or self._actor), self.now()
        appends = [opening(each, who, now, traceparent) for each in wanted]
        made = self.store.make_each(wanted, appends)
        self.waker.wake()
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
        who, now = actor_now(actor or self._actor), self.now()
        appends = [opening(each, who, now, traceparent) for each in wanted]
        made = self.store.make_all(wanted, appends, connection)
        self.waker.wake()
        return made

    def checked(self, members: Mapping[str, Any], payload: bytes) -> Submission:
        """Check a request as JSON spells it; raise InvalidRequest with every breach."""
        return submission(members, payload, self.settings, self.now(), from_json=True)

    def get(self, job_id: UUID | str) -> JobState:
        """Return the job as the log says it is at this moment; raise JobNotFound."""
        job = fold(self.history(job_id))
        assert job is not None
        return job

    def history(self, job_id: UUID | str, *, connection: Any = None) -> tuple[Entry, ...]:
        """Return everything that ever happened to the job, oldest first; raise JobNotFound."""
        wanted = _id(job_id)
        found = self.store.history(wanted, connection)
        if not found:
            raise JobNotFound(job_id)
        return found

    def notes(self, job_id: UUID | str) -> list[Note]:
        """Return what the job's handlers have said by `job.progress` and `job.log`, oldest first; raise JobNotFound."""
        found = notes.read(self.database, _id(job_id))
        if not found:
            self.history(job_id)  # an unknown job is told from a silent one
        return found

    def cancel(self, job_id: UUID | str, reason: str | None = None, **how: Any) -> JobState:
        """End a job that has not ended; of a running one the lease is void at once. Twice is as good as once.

        `how`: `connection=` joins the caller's transaction, `actor=` says who, `if_version=` demands the version.
        Raises JobNotFound, CommandRefused, VersionConflict (only with `if_version`).
        """
        return self.command(job_id, lambda job, _: commands.cancel(job, reason=reason), **how)

    def retry(
        self, job_id: UUID | str, reason: str | None = None, delay: Duration | None = None, **how: Any
    ) -> JobState:
        """Give a dead job a new budget, now or after `delay`. Raises as `cancel` does."""
        wait = requests.span(delay) if delay is not None else None
        return self.command(job_id, lambda job, now: commands.retry(job, now, wait, reason), **how)

    def run_now(self, job_id: UUID | str, reason: str | None = None, **how: Any) -> JobState:
        """Make a scheduled or retrying job ready before its time. Raises as `cancel` does."""
        return self.command(job_id, lambda job, _: commands.run_now(job, reason), **how)

    def discard(self, job_id: UUID | str, reason: str | None = None, **how: Any) -> JobState:
        """Give a dead job up for good. Raises as `cancel` does."""
        return self.command(job_id, lambda job, _: commands.discard(job, reason), **how)

    def command(
        self,
        job_id: UUID | str,
        rule: Rule,
        *,
        connection: Any = None,
        actor: str | None = None,
        if_version: int | None = None,
    ) -> JobState:
        """Ask a rule what happens to the job and append it; when another writer was faster, look again."""
        deadline = time.monotonic() + BLOCKED_WAIT.total_seconds()
        while True:
            job = fold(self.history(job_id, connection=connection))
            assert job is not None
            if if_version is not None and job.version != if_version:
                raise VersionConflict(job.id, if_version)
            events = rule(job, self.now())
            if not events:
                return job
            append = following(job, events, actor_now(actor or self._actor))
            outcome = self.store.append(append, connection)
            if isinstance(outcome, Recorded):
                if isinstance(events[-1], Enqueued):
                    self.waker.wake()
                return self._after(job_id, outcome.version, connection)
            if isinstance(outcome, Blocked) and time.monotonic() > deadline:
                raise Unavailable(f"job {job.id} is being changed by a transaction that stays open; try again later")

    aenqueue = twin(enqueue)
    aenqueue_many = twin(enqueue_many)
    aget = twin(get)
    ahistory = twin(history)
    acancel = twin(cancel)
    aretry = twin(retry)
    arun_now = twin(run_now)
    adiscard = twin(discard)

    def _enqueue_through_layers(self, jobs: Iterable[Mapping[str, Any]], connection: Any) -> list[UUID]:
        gathered = Gathered()
        promised = [self.enqueue_chain.enqueue(spelled(job), gathered.take) for job in jobs]
        wanted = gathered.named(self._check_all(gathered.requests))
        made = self.submit_all(wanted, connection=connection)
        return gathered.answers(promised, [each.job_id for each in made])

    def _check(self, members: Mapping[str, Any]) -> Submission:
        payload = payload_bytes(members.get("payload"))
        return submission(self.enqueue_chain.complete(members), payload, self.settings, self.now())

    def _check_all(self, jobs: Sequence[Mapping[str, Any]]) -> list[Submission]:
        wanted: list[Submission] = []
        breaches: list[Breach] = []
        check = Repeated(self._check, self.settings.job_max_payload)
        for index, job in enumerate(jobs):
            try:
                wanted.append(check(job))
            except InvalidRequest as error:
                breaches += [Breach(f"/{index}{b.pointer}", b.detail, b.too_large) for b in error.breaches]
        if breaches:
            raise InvalidRequest(breaches)
        return wanted

    def _after(self, job_id: UUID | str, version: int, connection: Any) -> JobState:
        job = fold(entry for entry in self.history(job_id, connection=connection) if entry.version <= version)
        assert job is not None
        return job


class BoundHandler(Handler[P, R]):
    """A registered handler of one application: callable, and able to enqueue itself."""

    def __init__(
        self,
        ledger: Ledger,
        function: Callable[P, R],
        type_: str,
        options: Mapping[str, Any],
        executor: str,
        **how: Any,
    ) -> None:
        super().__init__(function, type_, options, executor, **how)
        self._ledger = ledger

    def enqueue(self, **arguments: Any) -> UUID:
        """Make a job of this type: payload members and the options of `Ledger.enqueue`, all by name."""
        options = self.options | {name: arguments.pop(name) for name in OPTIONS & arguments.keys()}
        connection = options.pop("connection", None)
        payload = msgspec.Raw(self.encode(arguments))
        return self._ledger.enqueue(self.type, payload, connection=connection, **options)

    def schedule(self, **arguments: Any) -> UUID:
        """Make a job for later: as `enqueue`, with `delay=` or `run_at=` required."""
        if ("delay" in arguments) == ("run_at" in arguments):
            raise InvalidRequest([Breach("/delay", "give either delay= or run_at=")])
        return self.enqueue(**arguments)

    aenqueue = twin(enqueue)
    aschedule = twin(schedule)

    @property
    def threads(self) -> Threads:
        return self._ledger.threads


def _id(job_id: UUID | str) -> UUID:
    found = job_id if isinstance(job_id, UUID) else ids.parse(job_id)
    if found is None:
        raise JobNotFound(job_id)
    return found
