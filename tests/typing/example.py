"""What a type checker makes of an application: never run, but checked, with the mistakes it must find."""

from __future__ import annotations

from typing import assert_type
from uuid import UUID

from ledger import Job, Ledger, testing
from ledger.job import JobState

ledger = Ledger()


@ledger.job("email.send", queue="mail", priority="high", max_retries=5, timeout="30s")
def send_email(job: Job | None, to: str, subject: str = "") -> dict[str, str]:
    return {"to": to, "subject": subject}


@ledger.job("report.build")
async def build_report(day: int) -> int:
    return day


assert_type(send_email(None, "a@b.c", subject="hi"), dict[str, str])
assert_type(send_email.enqueue(to="a@b.c", queue="low", delay="1h"), UUID)
assert_type(send_email.schedule(to="a@b.c", delay=60), UUID)
assert_type(ledger.enqueue("email.send", {"to": "a@b.c"}, priority="low"), UUID)
assert_type(ledger.enqueue_many([{"type": "email.send"}]), list[UUID])
assert_type(ledger.cancel("id", reason="no"), JobState)

send_email(None, 3)  # pyright: ignore[reportArgumentType]
send_email(None)  # pyright: ignore[reportCallIssue]
ledger.job("x", priority="urgent")  # pyright: ignore[reportArgumentType]


async def twins() -> None:
    assert_type(await build_report(7), int)
    assert_type(await ledger.aenqueue("email.send", {"to": "a@b.c"}), UUID)
    assert_type(await ledger.aget("id"), JobState)
    assert_type(await ledger.acancel("id", reason="no"), JobState)
    assert_type(await send_email.aenqueue(to="a@b.c"), UUID)
    await ledger.aget()  # pyright: ignore[reportCallIssue]


def modes() -> None:
    with testing.manual(ledger) as kit, testing.crash_at("after_handler"):
        assert_type(kit.assert_enqueued(send_email, to="a@b.c"), JobState)
        assert_type(kit.drain(), list[JobState])
