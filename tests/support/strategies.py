"""Hypothesis strategies: everything an event can say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import orjson
from hypothesis import strategies as st

from ledger.events import (
    Backoff,
    CancelCause,
    Cancelled,
    DeadLettered,
    DeathReason,
    Discarded,
    Enqueued,
    EnqueueReason,
    Event,
    Failed,
    Jitter,
    Kind,
    Leased,
    Request,
    Retried,
    RetryPolicy,
    Scheduled,
    Succeeded,
)

times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 — the bounds are naive
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
names = st.text(st.characters(categories=["L", "N"], include_characters="._-"), min_size=1, max_size=40)
seconds = st.floats(0, 1e7)
counts = st.integers(0, 1000)

policies = st.builds(
    RetryPolicy,
    backoff=st.sampled_from(get_args(Backoff)),
    base_seconds=st.floats(0.001, 604_800),
    max_seconds=st.floats(0.001, 604_800),
    jitter=st.sampled_from(get_args(Jitter)),
)

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
payloads = st.dictionaries(text, _json, max_size=4).map(orjson.dumps) | st.sampled_from(
    [b"{}", b"{ }", b'{"n":123456789012345678901234567890}', b'{"a":1,"a":2}', b'{"a" : 1.50 ,\n"b":"\\u00e9"}']
)
results = st.none() | payloads | st.sampled_from([b"0", b"false", b'""', b"[1, 2]"])

requests = st.builds(
    Request,
    type=names,
    payload=payloads,
    max_retries=counts,
    timeout_seconds=st.floats(0.001, 604_800),
    retry=policies,
    scheduled_at=st.none() | times,
    expires_at=st.none() | times,
    deadline=st.none() | times,
    metadata=st.dictionaries(text, text, max_size=3),
    idempotency_key=st.none() | text,
    schedule_id=st.none() | st.uuids(),
    tick_at=st.none() | times,
    payload_version=st.integers(1, 1000),
)

first_events = st.builds(Scheduled, times, requests, st.none()) | st.builds(Enqueued, requests, st.none())
later_events_of: dict[Kind, st.SearchStrategy[Event]] = {
    Kind.SCHEDULED: st.builds(Scheduled, times, st.none(), st.none() | text),
    Kind.ENQUEUED: st.builds(
        Enqueued, st.none(), st.none() | st.sampled_from(get_args(EnqueueReason)), st.none() | text, st.none() | counts
    ),
    Kind.LEASED: st.builds(Leased, names, counts, names),
    Kind.SUCCEEDED: st.builds(Succeeded, seconds, results),
    Kind.FAILED: st.builds(Failed, text, text, st.none() | text, st.none() | seconds),
    Kind.RETRIED: st.builds(Retried, times, seconds, counts, st.none() | text, st.none() | counts),
    Kind.DEAD_LETTERED: st.builds(
        DeadLettered, st.sampled_from(get_args(DeathReason)), counts, counts, st.none() | text
    ),
    Kind.CANCELLED: st.builds(Cancelled, st.sampled_from(get_args(CancelCause)), st.none() | text),
    Kind.DISCARDED: st.builds(Discarded, st.none() | text),
}
later_events = st.one_of(*later_events_of.values())
events = first_events | later_events
