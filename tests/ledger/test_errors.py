"""Errors carry data, and their messages say what to do next."""

from __future__ import annotations

import pytest

from ledger import errors
from ledger.errors import (
    Breach,
    CommandRefused,
    IdempotencyConflict,
    IdempotencyKeyInUse,
    InvalidRequest,
    InvalidSettings,
    JobExists,
    JobNotFound,
    JobTimeout,
    LeaseLost,
    LedgerError,
    UnknownType,
    VersionConflict,
)
from tests.support.histories import JOB_ID


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (JobNotFound(JOB_ID), f"job not found: {JOB_ID}"),
        (
            CommandRefused(JOB_ID, "retry", "running", 2, "only a dead job can be retried"),
            "cannot retry a job that is running; only a dead job can be retried",
        ),
        (
            VersionConflict(JOB_ID, 4),
            f"job {JOB_ID} already has another event at version 4, or lost the one before it",
        ),
        (JobExists(JOB_ID), f"a job with id {JOB_ID} exists already; choose another id or leave it out"),
        (
            IdempotencyConflict("k", JOB_ID),
            f"idempotency key 'k' was used for a different request (job {JOB_ID}); use a new key",
        ),
        (
            IdempotencyKeyInUse("k"),
            "another request with idempotency key 'k' has not ended; send this one again in a moment",
        ),
        (LeaseLost(JOB_ID, 2), f"the lease {JOB_ID}:2 is void; its outcome was refused"),
        (UnknownType("a.b"), "no handler is registered for type 'a.b'"),
        (UnknownType("a.b", ["z", "c"]), "no handler is registered for type 'a.b'; registered are c, z"),
        (JobTimeout(1.5), "ran longer than its timeout of 1.5 s"),
        (InvalidSettings(["A: bad", "B: worse"]), "A: bad\nB: worse"),
        (
            InvalidRequest([Breach("/retry/base", "too long"), Breach("", "not an object")]),
            "retry/base: too long; request: not an object",
        ),
    ],
)
def test_messages(error, message):
    assert str(error) == message
    assert isinstance(error, LedgerError)


def test_a_taken_id_is_a_conflict_at_the_first_version():
    error = JobExists(JOB_ID)

    assert isinstance(error, VersionConflict)
    assert (error.job_id, error.version) == (JOB_ID, 1)


def test_the_tree_in_the_docstring_is_complete():
    names = [
        name for name, member in vars(errors).items() if isinstance(member, type) and issubclass(member, LedgerError)
    ]

    assert [name for name in names if name not in errors.__doc__] == []
