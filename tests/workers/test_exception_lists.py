"""Which exceptions are retried: by the handler's lists, by what it wishes, wrapped or in a group, in every executor."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from ledger import Cancel, Permanent, Retry, Snooze
from ledger.errors import JobTimeout
from ledger.events import Cancelled
from ledger.handlers import error_rules
from ledger.outcomes import NO_RULES, ErrorRules, ending_of_error, wish_of
from tests.support import worker_app
from tests.support.working import ended, reached, send, until, working

if TYPE_CHECKING:
    from ledger import Ledger


@pytest.mark.parametrize(
    ("rules", "error", "gives_up"),
    [
        (NO_RULES, ValueError(), False),
        (error_rules((ConnectionError, TimeoutError), None), ConnectionResetError(), False),
        (error_rules((ConnectionError,), None), ValueError(), True),
        (error_rules((), None), ValueError(), True),
        (error_rules(None, (ValueError,)), UnicodeError(), True),
        (error_rules(None, ValueError), KeyError(), False),
        (error_rules((OSError,), (FileNotFoundError,)), FileNotFoundError(), True),
        (error_rules((OSError,), (FileNotFoundError,)), PermissionError(), False),
        (error_rules((ConnectionError,), (OSError,)), ConnectionError(), False),
        (error_rules((ConnectionError,), None), JobTimeout(1), False),
        (error_rules((ConnectionError,), (JobTimeout,)), JobTimeout(1), True),
    ],
)
def test_of_the_listed_classes_the_nearest_decides(rules: ErrorRules, error: Exception, gives_up: bool) -> None:
    assert rules.gives_up(error) is gives_up


def test_a_list_of_anything_else_is_refused() -> None:
    with pytest.raises(ValueError, match="is not an exception class"):
        error_rules(("ValueError",), None)  # pyright: ignore[reportArgumentType]


def wrapped(cause: BaseException) -> Exception:
    outer, middle = RuntimeError("outer"), LookupError("middle")
    outer.__cause__, middle.__cause__ = middle, cause
    return outer


RETRY_LATER, RETRY_SOON = Retry(after=60), Retry(after=1)
NO_USE, UNWANTED = Permanent(), Cancel()
SHORT, LONG = Snooze(1), Snooze(60)


@pytest.mark.parametrize(
    ("error", "wish"),
    [
        (wrapped(RETRY_SOON), RETRY_SOON),
        (wrapped(NO_USE), NO_USE),
        (wrapped(SHORT), SHORT),
        (wrapped(UNWANTED), UNWANTED),
        (wrapped(ValueError()), None),
        (ExceptionGroup("", [ValueError(), RETRY_SOON, RETRY_LATER]), RETRY_LATER),
        (ExceptionGroup("", [RETRY_LATER, wrapped(NO_USE), UNWANTED]), NO_USE),
        (ExceptionGroup("", [ValueError(), UNWANTED, RETRY_SOON]), UNWANTED),
        (ExceptionGroup("", [SHORT, LONG]), LONG),
        (ExceptionGroup("", [SHORT, ValueError()]), None),
        (ExceptionGroup("", [ExceptionGroup("", [ValueError(), RETRY_SOON])]), RETRY_SOON),
        (wrapped(ExceptionGroup("", [KeyError(), NO_USE])), NO_USE),
        (BaseExceptionGroup("", [SystemExit(), ValueError()]), None),
    ],
)
def test_wishes_are_honoured_wrapped_and_in_groups(error: BaseException, wish: BaseException | None) -> None:
    assert wish_of(error) is wish


def test_a_group_is_permanent_if_one_of_its_errors_is_by_the_lists() -> None:
    rules = error_rules((ConnectionError,), None)
    assert wish_of(ExceptionGroup("", [ConnectionError(), ConnectionError()]), rules) is None
    assert isinstance(wish_of(ExceptionGroup("", [ConnectionError(), ValueError()]), rules), Permanent)
    assert ending_of_error(ExceptionGroup("both", [ValueError()]), "", rules).permanent


def test_a_circle_of_causes_ends() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert wish_of(first) is None


def test_a_worker_keeps_to_the_lists(ledger: Ledger) -> None:
    @ledger.job("picky", retry_on=(ConnectionError,), give_up_on=(ConnectionRefusedError,))
    def picky(name: str) -> None:
        raise {"reset": ConnectionResetError, "refused": ConnectionRefusedError, "value": ValueError}[name](name)

    with working(ledger):
        jobs = {name: send(ledger, "picky", {"name": name}) for name in ("reset", "refused", "value")}
        assert reached(ledger, jobs["reset"], "retrying").retry_count == 1
        for name in ("refused", "value"):
            job = reached(ledger, jobs[name], "dead")
            assert (job.death.reason, job.failure.error_message) == ("permanent", name)


def test_the_lists_hold_in_a_process_too(ledger: Ledger) -> None:
    for handler in worker_app.ledger.handlers.values():
        ledger.handlers.add(handler)
    with working(ledger):
        fatal = send(ledger, "process_is_picky", {"fatal": True})
        passing = send(ledger, "process_is_picky", {"fatal": False})
        assert reached(ledger, fatal, "dead").failure.error_type == "ValueError"
        assert reached(ledger, passing, "retrying").failure.error_type == "ConnectionResetError"


def test_a_handler_cancels_its_own_job_returned_raised_wrapped_or_from_a_process(ledger: Ledger) -> None:
    for handler in worker_app.ledger.handlers.values():
        ledger.handlers.add(handler)

    @ledger.job("returns")
    def returns() -> Cancel:
        return Cancel("not wanted")

    @ledger.job("raises_in_a_group")
    async def raises_in_a_group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(_not_wanted())

    with working(ledger):
        for type_ in ("returns", "raises_in_a_group", "process_cancels"):
            job_id = send(ledger, type_)
            assert ended(ledger, job_id).state == "cancelled"
            last = ledger.history(job_id)[-1]
            assert (last.event, last.actor) == (Cancelled("requested", "not wanted"), "worker:w-1")


async def _not_wanted() -> None:
    raise RuntimeError from Cancel("not wanted")


def test_a_snooze_may_be_raised_and_is_no_failure_to_the_layers_outside(ledger: Ledger) -> None:
    seen: list[object] = []

    def layer(job, call_next):
        seen.append(call_next(job))
        return seen[-1]

    ledger.use(layer)

    @ledger.job("later")
    def later() -> None:
        raise Snooze("1h", "rate limit")

    with working(ledger):
        job = reached(ledger, send(ledger, "later"), "scheduled")
    assert (job.retry_count, [type(each) for each in seen]) == (0, [Snooze])
    assert job.run_at - job.updated_at > timedelta(minutes=59)


def test_an_error_is_asked_for_its_words_in_the_handlers_thread(ledger: Ledger) -> None:
    threads: list[str] = []

    class Told(Exception):
        def __str__(self) -> str:
            threads.append(threading.current_thread().name)
            return "told"

    @ledger.job("tells")
    def tells() -> None:
        raise Told

    with working(ledger):
        until(lambda: ledger.get(send(ledger, "tells", max_retries=0)) and threads)
        until(lambda: threads)
    assert all(name.startswith("handler") for name in threads)
