"""The threads of a serving process: each waits for whichever connection speaks next, answers it, and waits again.

gunicorn's own threads are handed each request by its main thread and hand each connection back to it; of the time one
small request took, half was spent on handing over. Here the kernel hands them out (epoll, one shot a time), and the
main thread only accepts, closes what has been idle for too long, and leads the process out. As many as API_THREADS
says work at a time; who waits for the flush that another has begun does not, and so flushes are shared by more.

All processes listen on one socket, and who is awake first would take every connection of a burst: a process that holds
more than another lets that one go first.
"""

from __future__ import annotations

import errno
import mmap
import select
import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
from gunicorn.workers.gthread import ThreadWorker

from ledger.runtime.places import Places
from ledger_api.connection import Connection
from ledger_api.exchange import Answer, Environ

if TYPE_CHECKING:
    import socket

log = structlog.get_logger()

_A_PLACE = 2
"""Threads for each that may work at a time: while one waits for the flush that another has begun, the next works."""
_TURN = 1.0
"""Seconds between two looks for connections that have been idle for too long."""
_COURTESY = 0.001
"""Seconds for which a process with more connections leaves a new one to the others."""
_NO_ROOM = 0.05
"""Seconds to wait before another try to take a connection when there is no descriptor for it."""
_LINGER = 2.0
"""Seconds for which a process that leaves still answers on the connections it has."""
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
        self._open: set[Connection] = set()
        self._idle: dict[int, Connection] = {}
        """By descriptor. Who takes one out of it, a thread or the main thread, owns it."""
        self._environ = Environ(self.cfg)
        self._places = Places(self.cfg.threads)
        super().init_process()

    def run(self) -> None:
        calls: Any = self.method_queue
        self.poller.register(calls.fileno(), select.EPOLLIN, calls.run_callbacks)
        for number in range(_A_PLACE * self.cfg.threads):
            threading.Thread(target=self._serve, name=f"requests {number + 1}", daemon=True).start()
        while self.alive and self.is_parent_alive():
            self.set_accept_enabled(len(self._open) < self.worker_connections)
            self._turn(_TURN)
        self._leave()

    def accept(self, listener: socket.socket) -> None:
        if len(self._open) > self.shares.least():
            threading.Event().wait(_COURTESY)
        try:
            sock, address = listener.accept()
        except (
            OSError
        ) as error:  # nobody is there any more, or no descriptor is left: no reason to end what is under way
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                threading.Event().wait(_NO_ROOM)
            return
        with suppress(OSError):
            conn = Connection(self.cfg, sock, address, listener.getsockname())
            self._open.add(conn)
            self._await(conn, self._speaking.register)
            self.shares.tell(self.place, len(self._open))

    def _attend(self, conn: Connection) -> bool:
        """Answer all that the client has asked by now; return whether the connection stays."""
        request = None
        try:
            if not conn.hear():
                return False
            while (request := conn.request()) is not None:
                if not self._answer(request, conn):
                    return False
                request = None
            return True
        except OSError:  # the client has gone, or does not take the answer
            pass
        except Exception as error:  # noqa: BLE001 — answered as what it is
            self.handle_error(request, conn.sock, conn.client, error)
        return False

    def _answer(self, request: Any, conn: Connection) -> bool:
        self._places.take()  # the request before on this connection may have left it
        if request._expected_100_continue:  # noqa: SLF001 — gunicorn has no other word for it
            conn.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        answer = Answer(request, stays=self.alive and len(self._idle) < self.max_keepalived)
        body: Any = self.wsgi(self._environ.of(request, conn.client, conn.server), answer.start)  # pyright: ignore[reportArgumentType]
        answer.send(conn.sock, body)
        return conn.finish(request) and answer.stays

    def _serve(self) -> None:
        while True:
            self._places.take()
            for descriptor, _ in self._speaking.poll(maxevents=1):
                conn = self._idle.pop(descriptor, None)
                if conn is not None:
                    self._converse(conn)

    def _converse(self, conn: Connection) -> None:
        """Answer what the client has sent; then wait for more, or hang up."""
        try:
            if self._attend(conn) or conn.take_leave():
                self._await(conn, self._speaking.modify)
                return
        except OSError:
            pass
        except BaseException:
            log.exception("connection lost")
        self._close(conn)

    def _await(self, conn: Connection, arm: Any) -> None:
        descriptor = conn.sock.fileno()
        self._idle[descriptor] = conn
        arm(descriptor, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT)

    def _close(self, conn: Connection) -> None:
        self._open.discard(conn)
        self.shares.tell(self.place, len(self._open))
        with suppress(OSError):
            conn.sock.close()

    def _turn(self, seconds: float) -> None:
        self.notify()
        self.wait_for_and_dispatch_events(seconds)
        self._hang_up(time.monotonic())

    def _hang_up(self, now: float) -> None:
        """Close those whose time has passed by then."""
        for descriptor, conn in self._idle.copy().items():
            if conn.ends_at < now and self._idle.pop(descriptor, None) is conn:
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
