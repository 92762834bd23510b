"""The Redis side of a worker: messages taken, acknowledged, put back, and taken over from workers that went silent.

One script a queue hands in the acknowledgements that have gathered and takes the next messages, strictly by priority.
Only when all queues were found empty does the worker block, on all streams at once, so that an idle worker gets a new
job without delay; after a wait in vain it blocks again without asking each. On a cluster, whose slots part the queues,
it blocks on those of one queue and not for long. Such a read may bring one message a stream; what it brings beyond the
free slots goes back, never stays with a worker that cannot run it.

One thread reads at a time; others may acknowledge and put back meanwhile, and `stop`.
"""

from __future__ import annotations

import math
import threading
import time
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from redis.exceptions import ClusterCrossSlotError, ResponseError

from ledger import keys, message
from ledger.message import Message
from ledger.runtime import failpoints, redis

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    from ledger_workers.turns import Turns

log = structlog.get_logger()

_ACKNOWLEDGE_WITHIN = 1.0
_TAKE_OVER_AT_ONCE = 500
_PAUSE_AFTER_REFUSAL = 0.1
_LONGEST_WAIT_WITHOUT_ALL = 0.5


def _lua(name: str) -> bytes:
    return files("ledger_workers").joinpath("lua", f"{name}.lua").read_bytes()


_TAKE = redis.Script(_lua("take"))


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """A message, and where it lies until it is acknowledged or put back."""

    queue: str
    stream: str
    id: bytes
    message: Message


class Messages:
    """The dispatch streams of this worker's queues. Every method may raise Unavailable."""

    def __init__(self, redis_url: str, turns: Turns, worker_id: str, *, block: timedelta) -> None:
        self._block = block
        self._turns = turns
        self._name = worker_id
        self._reader = redis.connect(redis_url, longest_block=block.total_seconds(), name=worker_id)
        self._line = redis.Line(self._reader)
        self._control = redis.connect(redis_url, name="ledger-worker")
        self._put_back, self._take_over = (
            self._reader.register_script(_lua(name)) for name in ("put_back", "take_over")
        )
        self._streams = {queue: keys.streams(queue) for queue in turns.queues}
        self._queue_of = {stream: queue for queue, streams in self._streams.items() for stream in streams}
        self._done: dict[str, list[bytes]] = {stream: [] for stream in self._queue_of}
        self._handed_in = time.monotonic()
        self._stopping = False
        self._is_cluster = False
        self._all_empty = False
        """The last read has waited for every stream, in vain."""
        self._left = threading.Event()
        self._left.set()

    def read(self, wanted: int) -> list[Delivery]:
        """Return up to `wanted` messages in the order in which they should run; wait for one if there is none."""
        found = [] if self._all_empty else self.take(wanted)
        return found or ([] if self._stopping else self._await(wanted))

    def take(self, wanted: int) -> list[Delivery]:
        """Return up to `wanted` messages that are there now."""
        found: list[Delivery] = []
        with redis.reachable(self._reader):
            for queue, share in self._turns.first(wanted):
                taken = self._take_from(queue, share)
                self._turns.served(queue, share, len(taken))
                found += taken
            for queue in self._turns.rest():
                if len(found) >= wanted:
                    break
                taken = self._take_from(queue, wanted - len(found))
                self._turns.served(queue, wanted - len(found), len(taken))
                found += taken
            if time.monotonic() - self._handed_in > _ACKNOWLEDGE_WITHIN:
                self._hand_in()
        return found

    def acknowledge(self, deliveries: Iterable[Delivery]) -> None:
        """Note messages as done with; they leave Redis with the next read, or within about a second."""
        for delivery in deliveries:
            self._done[delivery.stream].append(delivery.id)

    def flush(self) -> list[Delivery]:
        """Acknowledge now what has gathered, and bring nothing."""
        with redis.reachable(self._reader):
            self._hand_in()
        return []

    def put_back(self, deliveries: Iterable[Delivery]) -> None:
        """Give messages up for any worker to take."""
        by_stream: dict[str, list[bytes]] = {}
        for delivery in deliveries:
            by_stream.setdefault(delivery.stream, []).append(delivery.id)
        with redis.reachable(self._reader):
            for stream, ids in by_stream.items():
                self._put_back(keys=[stream], args=[keys.GROUP, *ids])

    def take_over(self, silence: timedelta) -> int:
        """Put back what is pending at workers not seen for so long, and forget them; return how many messages."""
        limits = [keys.GROUP, self._name, int(silence.total_seconds() * 1000), _TAKE_OVER_AT_ONCE]
        moved = 0
        with redis.reachable(self._reader):
            for stream in self._queue_of:
                moved += self._take_over(keys=[stream], args=limits)[0]
        return moved

    def stop(self) -> None:
        """End a read that waits, and let no other wait; from any thread."""
        self._stopping = True
        deadline = time.monotonic() + self._block.total_seconds()
        while not self._left.wait(0.02) and time.monotonic() < deadline:
            try:
                self._unblock()
            except (*redis.TRANSIENT, ResponseError):
                return  # away, or not ours to control: the read ends by itself before long

    def close(self) -> None:
        """Leave no trace in Redis: a worker that has gone needs no consumers."""
        with redis.reachable(self._reader):
            self._hand_in()
            pipeline = self._reader.pipeline(transaction=False)
            for stream in self._queue_of:
                pipeline.xgroup_delconsumer(stream, keys.GROUP, self._name)
            pipeline.execute(raise_on_error=False)
        self._line.close()
        self._reader.close()
        self._control.close()

    def _take_from(self, queue: str, wanted: int) -> list[Delivery]:
        streams = self._streams[queue]
        done = [self._done[stream].copy() for stream in streams]
        arguments = [argument for ids in done for argument in (len(ids), *ids)]
        reply = self._line.run(_TAKE, len(streams), *streams, keys.GROUP, self._name, wanted, *arguments)
        for stream, ids in zip(streams, done, strict=True):
            del self._done[stream][: len(ids)]  # others may have come meanwhile
        return self._deliveries((streams[index - 1], id_, flat) for index, id_, flat in reply)

    def _hand_in(self) -> None:
        for queue, streams in self._streams.items():
            if any(self._done[stream] for stream in streams):
                self._take_from(queue, 0)
        self._handed_in = time.monotonic()

    def _await(self, wanted: int) -> list[Delivery]:
        queues = [queue for queue in self._streams if queue not in self._turns.paused]
        if self._is_cluster:
            queues = queues[:1]
        streams = [stream for queue in queues for stream in self._streams[queue]]
        # The wait is short while some queue cannot end it: a paused one when it is resumed, or one in another slot.
        limit = math.inf if len(queues) == len(self._streams) else _LONGEST_WAIT_WITHOUT_ALL
        block = int(min(self._block.total_seconds(), limit) * 1000)
        self._all_empty = False
        with redis.reachable(self._reader):
            self._hand_in()
            failpoints.hit("before_block")
            self._left.clear()
            try:
                reply = self._line.call(
                    "XREADGROUP", "GROUP", keys.GROUP, self._name, "COUNT", 1, "BLOCK", block,
                    "STREAMS", *streams, *[">"] * len(streams),
                )  # fmt: skip
            except ResponseError as error:
                self._left.set()
                if isinstance(error, ClusterCrossSlotError):
                    self._is_cluster = True
                    log.info("Redis is a cluster, a read waits for one queue at a time")
                    return []
                # NOGROUP: the next read makes the groups again. UNBLOCKED never comes as an error.
                log.info("blocking read refused", error=str(error))
                threading.Event().wait(_PAUSE_AFTER_REFUSAL)
                return []
            finally:
                self._left.set()
        self._all_empty = not reply and limit == math.inf
        found = self._deliveries(
            (stream.decode(), id_, flat) for stream, entries in _pairs(reply) for id_, flat in entries
        )
        self.put_back(found[wanted:])
        return found[:wanted]

    def _deliveries(self, entries: Iterable[tuple[str, bytes, Sequence[bytes]]]) -> list[Delivery]:
        """Return the messages; of each entry: its stream, its id, its names and values in turn."""
        found: list[Delivery] = []
        for stream, id_, flat in entries:
            parsed = message.parse(_fields(flat))
            if parsed is None:
                log.warning("not a dispatch message, dropped", stream=stream, id=id_.decode())
                self._done[stream].append(id_)
            else:
                found.append(Delivery(self._queue_of[stream], stream, id_, parsed))
        return found

    def _unblock(self) -> None:
        clients: Any = self._control.client_list()
        for client in clients:
            if client["name"] == self._name:
                self._control.client_unblock(int(client["id"]))


def _fields(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2]))  # noqa: B905 — Redis keeps names and values in pairs


def _pairs(reply: Any) -> Iterable[tuple[bytes, Any]]:
    """The streams of a reply, which the newer protocol gives as a map."""
    return () if not reply else reply.items() if isinstance(reply, dict) else reply
