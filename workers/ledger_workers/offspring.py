"""A worker process as its supervisor sees it: started, heard, looked at, told.

Children are fresh interpreters, never forks of one with live connections. Two threads look after each: one hears what
it says, one sees it die, for what a handler has forked may hold the line open long after.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from ledger_workers.board import Board
from ledger_workers.heartbeat import Beat
from ledger_workers.mission import GO, RETIRE, Mission, Report, worker_id
from ledger_workers.slots import Slots
from ledger_workers.tally import Family
from ledger_workers.wear import Wear

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.settings import Settings
    from ledger_workers.tally import Tally


class Order(msgspec.Struct, frozen=True):
    """What children are to be like."""

    app: str
    drain: bool = False
    wear: Wear = Wear()
    tells: bool = False


class Child:
    """A worker process. `news` is called, from any thread, when it has reported and when it has ended."""

    def __init__(self, order: Order, settings: Settings, tally: Tally, news: Callable[[Child], None]) -> None:
        self.board = Board.create(Slots(settings.worker_concurrency).most * 2)
        self.began_at = time.monotonic()
        self.report: Report | None = None
        self.working = False
        """It is on the list of workers and has been let go."""
        self.worn = False
        """Another is to take its place."""
        self.retiring = False
        """It has been told that it is being replaced."""
        self.killed = False
        """Its end is no job's doing."""
        self._wear = order.wear
        self._tally = tally
        self._news = news
        self._line, theirs = socket.socketpair()
        tag = secrets.token_hex(2)
        with theirs:
            self.process = _start(_mission(order, settings, tag, theirs.fileno(), self.board), theirs)
        self.id = worker_id(self.process.pid, tag)
        threading.Thread(target=self._hear, name=f"ear for {self.id}", daemon=True).start()
        threading.Thread(target=self._await_end, name=f"keeper of {self.id}", daemon=True).start()

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def takes_jobs(self) -> bool:
        return self.working and not self.retiring and not self.board.is_worn()

    def beat(self, *, stopping: bool) -> Beat:
        return Beat(self.id, self.process.pid, self.board.running(), stopping or self.retiring)

    def look(self) -> bool:
        """Say whether it has just been found worn."""
        found = not self.worn and self.working and self._is_worn()
        self.worn = self.worn or found
        return found

    def let_go(self) -> None:
        self._say(GO)
        self.working = True

    def retire(self) -> None:
        """Let it finish what it runs, however long that takes, and leave."""
        self._say(RETIRE)
        self.retiring = True

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and all it has started."""
        self.killed = True
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        self._line.close()
        self.board.close()

    def _is_worn(self) -> bool:
        return self.board.is_worn() or self._wear.is_too_large(self.process.pid)

    def _say(self, word: bytes) -> None:
        with suppress(OSError):
            self._line.sendall(word)

    def _hear(self) -> None:
        with suppress(OSError, ValueError, msgspec.MsgspecError), self._line.makefile("rb") as heard:
            self.report = msgspec.json.decode(heard.readline(), type=Report)
            self._news(self)
            for told in heard:
                self._tally.hear(self.id, msgspec.json.decode(told, type=tuple[Family, ...]))
        self._tally.bury(self.id)

    def _await_end(self) -> None:
        self.process.wait()
        self._news(self)


def _mission(order: Order, settings: Settings, tag: str, line: int, board: Board) -> Mission:
    return Mission(
        app=order.app,
        tag=tag,
        line=line,
        board=board.descriptor,
        queues=settings.worker_queues,
        concurrency=settings.worker_concurrency,
        shutdown_seconds=settings.worker_shutdown_timeout.total_seconds(),
        drain=order.drain,
        wear=order.wear,
        tells=order.tells,
    )


def _start(mission: Mission, line: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 — our own program
        [sys.executable, "-m", "ledger_workers.child", msgspec.json.encode(mission).decode()],
        stdin=subprocess.DEVNULL,
        pass_fds=(line.fileno(), mission.board),
        start_new_session=True,
    )
