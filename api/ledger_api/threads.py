"""The threads of a serving process: each waits for whichever connection speaks next, answers it, and waits again.

gunicorn's own threads are handed each request by its main thread and hand each connection back to it; of the time one
small request took, half was spent on handing over. Here the kernel hands them out (epoll, one shot a time), and the
main thread only accepts, closes what has been idle for too long, and leads the process out.

All processes listen on one socket, and who is awake first would take every connection of a burst: a process that holds
more than another lets that one go first.
"""

from __future__ import annotations

import mmap
import select
import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker

from ledger_api.exchange import Answer, Environ, Requests

if TYPE_CHECKING:
    import socket

log = structlog.get_logger()

_TURN = 1.0
"""Seconds between two looks for connections that have been idle for too long."""
_COURTESY = 0.001
"""Seconds for which a process with more connections leaves a new one to the others."""
_LINGER = 2.0
"""Seconds for which a process that leaves still answers on the connections it has."""
_GONE = (BrokenPipeError, ConnectionResetError)
_LEFT_OVER, _PATIENCE = 32 * 1024 * 1024, 5.0
"""Bytes that are taken of a refused body, twice the largest that is allowed, and seconds."""
_COUNT = struct.Struct("<I")


class Shares:
    """How many connections each serving process holds: memory they share. Made before the fork."""

    def __init__(self, processes: int) -> None:
        self._memory = mmap.mmap(-1, processes * _COUNT.size)
        self._free = list(range(processes))
        self._taken: dict[int, int] = {}

    def take(self, age: int) -> int:
        """Return a place for a process that is about to be forked; to be called by its parent, as is `leave`."""
        place = self._taken[age] = self._free.pop()
        self.tell(place, 0)
        return place

    def leave(self, age: int) -> None:
        """Free the place of a process that has ended."""
        if (place := self._taken.pop(age, None)) is not None:
            self._free.append(place)

    def tell(self, place: int, held: int) -> None:
        _COUNT.pack_into(self._memory, place * _COUNT.size, held)

    def least(self) -> int:
        """Return what the process with the fewest connections holds. A place that nobody has counts as empty."""
        return min(held for (held,) in _COUNT.iter_unpack(self._memory))


class Threads(ThreadWorker):
    """A gunicorn worker. `shares` and `place` are set before the fork."""

    shares: Shares
    place: int

    def init_process(self) -> None:
        self._speaking = select.epoll()
        self._open: set[TConn] = set()
        self._idle: dict[int, TConn] = {}
        """By descriptor, longest idle first. Who takes one out of it, a thread or the main thread, owns it."""
        self._environ = Environ(self.cfg)
        super().init_process()

    def run(self) -> None:
        calls: Any = self.method_queue
        self.poller.register(calls.fileno(), select.EPOLLIN, calls.run_callbacks)
        for number in range(self.cfg.threads):
            threading.Thread(target=self._serve, name=f"requests {number + 1}", daemon=True).start()
        while self.alive and self.is_parent_alive():
            self.set_accept_enabled(len(self._open) < self.worker_connections)
            self._turn(_TURN)
        self._leave()

    def accept(self, listener: socket.socket) -> None:
        if len(self._open) > self.shares.least():
            threading.Event().wait(_COURTESY)
        with suppress(BlockingIOError, ConnectionAbortedError):
            sock, address = listener.accept()
            conn = TConn(self.cfg, sock, address, listener.getsockname())
            sock.setblocking(True)
            conn.parser = Requests(self.cfg, sock, address)
            self._open.add(conn)
            self._await(conn, self._speaking.register)
            self.shares.tell(self.place, len(self._open))

    def handle(self, conn: Any) -> bool:
        """Answer what the client asks next; return whether the connection stays."""
        request = None
        try:
            request = next(conn.parser)
            return self._answer(request, conn)
        except (StopIteration, NoMoreData, *_GONE):
            pass
        except Exception as error:  # noqa: BLE001 — answered as what it is
            self.handle_error(request, conn.sock, conn.client, error)
        return False

    def _answer(self, request: Any, conn: Any) -> bool:
        if request._expected_100_continue:  # noqa: SLF001 — gunicorn has no other word for it
            conn.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        answer = Answer(request, stays=self.alive and len(self._idle) < self.max_keepalived)
        body: Any = self.wsgi(self._environ.of(request, conn.client, conn.server), answer.start)  # pyright: ignore[reportArgumentType]
        answer.send(conn.sock, body)
        return _has_ended(request.body, conn.sock) and answer.stays

    def _serve(self) -> None:
        while True:
            for descriptor, _ in self._speaking.poll(maxevents=1):
                conn = self._idle.pop(descriptor, None)
                if conn is not None:
                    self._converse(conn)

    def _converse(self, conn: Any) -> None:
        """Answer what the client has sent; then wait for more, or hang up."""
        try:
            while self.handle(conn):
                if not conn.parser.unreader.buf.getvalue():
                    self._await(conn, self._speaking.modify)
                    return
        except BaseException:
            log.exception("connection lost")
        self._close(conn, graceful=True)

    def _await(self, conn: TConn, arm: Any) -> None:
        conn.set_timeout()
        descriptor = conn.sock.fileno()
        self._idle[descriptor] = conn
        arm(descriptor, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT)

    def _close(self, conn: TConn, *, graceful: bool = False) -> None:
        self._open.discard(conn)
        self.shares.tell(self.place, len(self._open))
        with suppress(OSError):
            conn.close(graceful=graceful)

    def _turn(self, seconds: float) -> None:
        self.notify()
        self.wait_for_and_dispatch_events(seconds)
        self._hang_up(time.monotonic())

    def _hang_up(self, now: float) -> None:
        """Close what has been idle for too long by then."""
        idle: dict[int, Any] = self._idle.copy()
        for descriptor, conn in idle.items():
            if conn.timeout > now:
                return
            if self._idle.pop(descriptor, None) is conn:
                self._close(conn)

    def _leave(self) -> None:
        """Answer what is being asked and what comes at this moment, then hang up."""
        self.set_accept_enabled(False)
        lingering, ends_at = (time.monotonic() + span for span in (_LINGER, self.cfg.graceful_timeout))
        while self._open and time.monotonic() < ends_at:
            self._turn(0.05)
            if time.monotonic() > lingering:
                self._hang_up(float("inf"))
        for listener in self.sockets:
            listener.close()


def _has_ended(body: Any, sock: socket.socket) -> bool:
    """Return whether the body has ended, and another request may come; take what is left of one that nobody read.

    A client that is still sending when we hang up sees a broken connection instead of the answer.
    """
    if isinstance(body.reader, LengthReader) and not body.reader.length:
        return True
    left, ends_at = _LEFT_OVER, time.monotonic() + _PATIENCE
    try:
        while left > 0 and (seconds := ends_at - time.monotonic()) > 0:
            sock.settimeout(seconds)
            part = body.read(65_536)
            if not part:
                return not body.failed
            left -= len(part)
    except (OSError, ParseException):  # too slow, gone, or chunks that are none
        pass
    finally:
        with suppress(OSError):
            sock.setblocking(True)
    return False
