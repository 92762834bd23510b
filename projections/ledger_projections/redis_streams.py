"""The dispatch streams in Redis: adding ready jobs, and noticing what Redis has lost.

Redis is a cache of the log, and it may be emptied, replaced or taken back in time without telling anybody. A marker is
written when the streams have been filled; it names the server that was filled (`run_id` and `master_replid`), so a
marker that is gone, or that names another server than the one at the other end, means that the streams must be filled
again. The marker is read with every batch, in the same round trip.

XADD never makes a stream here (NOMKSTREAM): a stream that somebody deleted is noticed by the very next message to it,
and no stream is made without its consumer group.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from ledger import keys
from ledger.errors import Unavailable
from ledger.events import Priority
from ledger.message import Message
from ledger.runtime import redis
from ledger.wake import hold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Entries = list[tuple[bytes, Mapping[bytes, bytes]]]

PAGE = 1000
_EVICTS = "allkeys-"
"""The policies that throw away keys without an expiry, as all of ours are."""


class Ready(msgspec.Struct, frozen=True):
    """A ready job and the stream it belongs on."""

    queue: str
    stream: str
    message: Message

    @property
    def name(self) -> bytes:
        """What this message tells; copies of it have the same name."""
        return b"%b:%d" % (str(self.message.job_id).encode(), self.message.version)


def ready(queue: str, priority: int, message: Message) -> Ready:
    return Ready(queue, _stream(queue, priority), message)


@lru_cache(maxsize=1024)
def _stream(queue: str, priority: int) -> str:
    """Asked for every job, of which most belong on the same few."""
    return keys.stream(queue, Priority(priority))


class DispatchStreams:
    """The streams of one Redis. Every method raises Unavailable while Redis is away, full or not to be trusted."""

    def __init__(self, url: str) -> None:
        self._client = redis.connect(url, name="ledger-dispatch", on_connect=self._forget_server)
        self._server: bytes | None = None
        self._marker: bytes | Exception | None = None
        self._accepted: set[bytes] = set()
        self._used: set[str] = set()
        self._lost_stream = False
        self._newest: str | None = None
        self._marked: str | None = None
        self._deep: dict[bytes, bytes] = {}

    @property
    def intact(self) -> bool:
        """Whether this is the Redis that was filled and has kept its streams, as far as its last answers tell."""
        return self._server is not None and self._marker == self._server and not self._lost_stream

    def refuse_eviction(self) -> None:
        """Raise Unavailable when Redis might throw messages away. A Redis that is down is asked later."""
        try:
            self._identify()
        except redis.TRANSIENT:
            return

    def check(self) -> bool:
        """Ask Redis who it is, if that is not known, and whether it still has what it was given."""
        with redis.reachable(self._client):
            if self._server is None:
                self._server = self._identify()
            self._answers([])
            if isinstance(self._marker, Exception):
                raise self._marker
        return self.intact

    def remember(self, newest: str | None) -> None:
        """Let the mark of this event be written with the next batch, or the next check."""
        self._newest = newest or self._newest

    def identify(self) -> None:
        """Ask anew who this is: behind the same connection a replica may have been promoted."""
        with redis.reachable(self._client):
            self._server = self._identify()

    def add(self, batch: Sequence[Ready]) -> None:
        """Add the batch in this order, and look at the marker.

        When Redis takes only a part of it (it is full), Unavailable is raised; the same batch may come again, and what
        was accepted is not sent twice.
        """
        rest = [item for item in batch if item.name not in self._accepted] if self._accepted else batch
        with redis.reachable(self._client):
            homeless = self._send(rest)
            if homeless:
                self._make(sorted({item.stream for item in homeless}))
                self._send(homeless)
        self._accepted.clear()

    def hold(self, queues: Iterable[str]) -> None:
        """Let no client add messages to these queues for a moment."""
        with redis.reachable(self._client):
            redis.send_all(self._client, [hold(queue) for queue in sorted(queues)])

    def ensure(self, streams: Sequence[str]) -> None:
        """Make the streams and groups that are not there."""
        with redis.reachable(self._client):
            self._make(streams)

    def begin_refill(self) -> None:
        """Mark the streams as being filled, so that `end_refill` can tell whether Redis was emptied meanwhile."""
        with redis.reachable(self._client):
            self._server = self._identify()
            self._client.set(keys.MARKER, b"refilling")
        self._marked = None
        self._accepted.clear()
        self._used.clear()
        self._lost_stream = False

    def end_refill(self) -> None:
        """Write the marker if the one of `begin_refill` is still there; else the streams are not intact."""
        with redis.reachable(self._client):
            written = self._server is not None and self._client.set(keys.MARKER, self._server, xx=True)
        self._marker = self._server if written else None

    def mark(self) -> tuple[str, int, int] | None:
        """Return job id, version and time of the newest event that was read, as far as we or this Redis remember."""
        mark = self._newest
        if mark is None:
            with redis.reachable(self._client):
                kept: bytes | None = self._client.get(keys.MARK)  # pyright: ignore[reportAssignmentType]
            mark = "" if kept is None else kept.decode()
        job_id, *numbers = mark.split(":")
        return (job_id, int(numbers[0]), int(numbers[1])) if len(numbers) == 2 else None

    def unmark(self) -> None:
        self._newest = self._marked = None
        with redis.reachable(self._client):
            self._client.delete(keys.MARK)

    def forget(self) -> None:
        """Take the marker away: the dispatcher then adds whatever is ready and absent."""
        with redis.reachable(self._client):
            self._client.delete(keys.MARKER)

    def names(self, stream: str) -> set[bytes]:
        """Return the names of all messages on a stream, also of those that were delivered and not acknowledged."""
        return {_name(fields) for page in self._pages(stream) for _, fields in page}

    def absent(self, wanted: Iterable[Ready]) -> list[Ready]:
        """Return those that are nowhere on their streams. `wanted` comes stream by stream, the oldest first.

        The oldest are at the head, where one page finds them. Those found deeper (they were added again, late) are
        remembered, so that the next search needs not go there.
        """
        deep: dict[bytes, bytes] = {}
        found: list[Ready] = []
        for stream, items in groupby(wanted, attrgetter("stream")):
            left = {item.name: item for item in items}
            deep |= self._still_deep(stream, left)
            for name in deep:
                left.pop(name, None)
            for number, page in enumerate(self._pages(stream) if left else ()):
                here = {name: entry for entry, fields in page if (name := _name(fields)) in left}
                deep |= here if number else {}
                for name in here:
                    del left[name]
                if not left:
                    break
            found += left.values()
        self._deep = deep
        return found

    def close(self) -> None:
        self._client.close()

    def _send(self, batch: Sequence[Ready]) -> list[Ready]:
        """Send the batch and the question for the marker; return what met no stream."""
        answers = self._answers([_addition(item) for item in batch])
        refusals = [answer for answer in answers if isinstance(answer, Exception)]
        homeless = [item for item, answer in zip(batch, answers, strict=True) if answer is None]
        if refusals or homeless:
            self._accepted |= {i.name for i, answer in zip(batch, answers, strict=True) if isinstance(answer, bytes)}
        if refusals:
            raise self._refusal(refusals[0])
        return homeless

    def _answers(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Return the answers to the commands, and with them write the mark, if it is new, and look at the marker."""
        newest = self._newest
        is_new = newest is not None and newest != self._marked
        mark: list[tuple[Any, ...]] = [("SET", keys.MARK, newest)] if is_new else []
        *answers, self._marker = redis.send_all(self._client, [*commands, *mark, ("GET", keys.MARKER)])
        if is_new and answers.pop() == b"OK":
            self._marked = newest
        return answers

    def _make(self, streams: Sequence[str]) -> None:
        pipe = self._client.pipeline(transaction=False)
        for stream in streams:
            pipe.xgroup_create(stream, keys.GROUP, id="0", mkstream=True)
        for stream, answer in zip(streams, pipe.execute(raise_on_error=False), strict=True):
            if not isinstance(answer, Exception):
                self._lost_stream |= stream in self._used
            elif not str(answer).startswith("BUSYGROUP"):
                raise self._refusal(answer)
            self._used.add(stream)

    def _refusal(self, error: Exception) -> Unavailable:
        self._server = None  # a master that has become a replica says so by refusing
        return Unavailable(f"Redis at {redis.describe(self._client)} takes no messages: {error}")

    def _pages(self, stream: str) -> Iterator[Entries]:
        start = "-"
        while True:
            with redis.reachable(self._client):
                page: Entries = self._client.xrange(stream, start, count=PAGE)  # pyright: ignore[reportAssignmentType]
            yield page
            if len(page) < PAGE:
                return
            start = "(" + page[-1][0].decode()

    def _still_deep(self, stream: str, wanted: Iterable[bytes]) -> dict[bytes, bytes]:
        known = {name: self._deep[name] for name in wanted if name in self._deep}
        pipe = self._client.pipeline(transaction=False)
        for entry in known.values():
            pipe.xrange(stream, entry, entry)
        with redis.reachable(self._client):
            return {name: known[name] for name, there in zip(known, pipe.execute(), strict=True) if there}

    def _identify(self) -> bytes:
        info: Mapping[str, Any] = self._client.info("server", "replication", "memory")  # pyright: ignore[reportAssignmentType]
        policy = info.get("maxmemory_policy", "")
        if policy.startswith(_EVICTS):
            raise Unavailable(
                f"Redis at {redis.describe(self._client)} may throw away messages when it is full "
                f"(maxmemory-policy {policy}); set maxmemory-policy to noeviction"
            )
        return f"{info['run_id']}:{info['master_replid']}".encode()

    def _forget_server(self) -> None:
        self._server = None


def _addition(item: Ready) -> tuple[Any, ...]:
    m = item.message
    return (
        "XADD", item.stream, "NOMKSTREAM", "*",
        "job", str(m.job_id), "version", m.version, "attempt", m.attempt, "type", m.type,
    )  # fmt: skip


def _name(fields: Mapping[bytes, bytes]) -> bytes:
    return fields.get(b"job", b"") + b":" + fields.get(b"version", b"")
