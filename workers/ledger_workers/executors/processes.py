"""Processes for handlers: one job at a time in each, so that a crash, a leak or a time-out ends that job and no other.

A process serves the threads' jobs one after the other; one that is worn, or has run a job which had lost a worker
before, is not used again. It is told the job, finds the handler in the same application, and answers with what came of
it. Each leads a group, so that whatever its handlers have started ends with it. It ends with the process that started
it, for its input ends then.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary, finalize

import msgspec

from ledger.outcomes import Cancel, Ending, Permanent, Retry, Snooze
from ledger.running import Job, Token
from ledger_workers.wear import UNWEARING, Wear

if TYPE_CHECKING:
    from ledger_workers.leases import Run

T = TypeVar("T")

_LENGTH = struct.Struct("<Q")
_TO_START = 60.0
"""Seconds that a process has to load the application."""


class Order(msgspec.Struct, frozen=True):
    """A job on its way to a process."""

    id: UUID
    type: str
    body: bytes
    queue: str
    priority: str
    attempt: int
    retry_count: int
    max_retries: int
    timeout: timedelta
    metadata: dict[str, str]
    lease_version: int
    correlation_id: str
    worker_id: str
    traceparent: str | None
    deadline: datetime | None
    payload_version: int

    @classmethod
    def of(cls, job: Job) -> Order:
        plain = {
            name: getattr(job, name) for name in cls.__struct_fields__ if name not in ("metadata", "lease_version")
        }
        return cls(**plain, metadata=dict(job.metadata), lease_version=job.token.lease_version)

    def job(self) -> Job:
        plain = {name: getattr(self, name) for name in self.__struct_fields__ if name != "lease_version"}
        return Job(**plain, token=Token(self.id, self.lease_version))


class Word(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a process says: an empty word once it is ready; of each job how far it is, and at last what came of it."""

    ending: Ending | None = None
    progress: float | None = None
    message: str | None = None


class Remote(Exception):
    """Stands for an error of a handler in a process, under its own name."""

    remote_stack = ""


class ProcessDied(Exception):
    """The process of a handler ended before the handler did."""

    def __init__(self, code: int) -> None:
        self.code = code
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        super().__init__(f"the handler's process {how}")


class Processes:
    """Runs handlers of the application named `app` in processes; safe to share by threads."""

    def __init__(self, app: str, wear: Wear = UNWEARING) -> None:
        self._app = app
        # Where it was found, and where output goes: a handler in a thread may go elsewhere, or close what is not its.
        self._directory = Path.cwd()
        self._stderr = os.dup(2)
        finalize(self, os.close, self._stderr)
        self._wear = wear
        self._jobs: WeakKeyDictionary[subprocess.Popen[bytes], int] = WeakKeyDictionary()
        """How many each process has run."""
        self._lock = threading.Lock()
        self._idle: list[subprocess.Popen[bytes]] = []

    def reserve(self, run: Run) -> None:
        """Keep a process for this run that has loaded the application. One that cannot is found out when it is used."""
        run.process = self._take()

    def give_back(self, run: Run) -> None:
        """Take back a process that the run has not used."""
        with self._lock:
            if run.process is not None:
                self._idle.append(run.process)
            run.process = None

    def run(self, run: Run) -> Any:
        """Return what the handler returns or raise what it raises; `run.stop` kills it."""
        process, run.process = run.process or self._take(), None
        run.stop = lambda: self._kill(process, run)
        try:
            if run.job.cancelled:
                _kill_group(process)
            answer = _ask(process, run.job)
        finally:
            with self._lock:
                run.stop = None
        self._keep_or_end(process, suspect=run.state.crash_count > 0)
        return _value(answer)

    def close(self) -> None:
        """End the processes that have nothing to do; the others end with this one."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            _end(process)

    def _keep_or_end(self, process: subprocess.Popen[bytes], *, suspect: bool) -> None:
        worn = self._wear.is_too_large(process.pid)
        with self._lock:
            jobs = self._jobs[process] = self._jobs.get(process, 0) + 1
            kept = not suspect and not worn and not self._wear.is_used_up(jobs)
            if kept:
                self._idle.append(process)
        if not kept:
            _end(process)

    def _kill(self, process: subprocess.Popen[bytes], run: Run) -> None:
        with self._lock:
            if run.stop is not None:  # else it may be running another job by now
                _kill_group(process)

    def _take(self) -> subprocess.Popen[bytes]:
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if _lives(process):
                    return process
                _end(process)
        command = [sys.executable, "-m", "ledger_workers.executors.serve", self._app]
        process = subprocess.Popen(  # noqa: S603 — our own program
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            cwd=self._directory,
            process_group=0,
        )
        _await_ready(process)
        return process


def send(stream: IO[bytes], value: msgspec.Struct) -> None:
    """Write one message."""
    body = msgspec.msgpack.encode(value)
    stream.write(_LENGTH.pack(len(body)) + body)
    stream.flush()


def receive(stream: IO[bytes], kind: type[T]) -> T:
    """Read one message; raise EOFError when the other end has gone."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    return msgspec.msgpack.decode(stream.read(_LENGTH.unpack(head)[0]), type=kind)


def _ask(process: subprocess.Popen[bytes], job: Job) -> Ending:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        send(process.stdin, Order.of(job))
        while (word := receive(process.stdout, Word)).ending is None:
            job.say(word.progress, word.message)
    except (OSError, EOFError, ValueError, msgspec.MsgspecError):
        _end(process)
        raise ProcessDied(process.returncode) from None
    return word.ending


def _await_ready(process: subprocess.Popen[bytes]) -> None:
    """Wait for the first word of a process, or for its end, which its first job will see."""
    assert process.stdout is not None
    late = threading.Timer(_TO_START, _kill_group, [process])
    late.start()
    with suppress(OSError, EOFError, ValueError, msgspec.MsgspecError):
        receive(process.stdout, Word)
    late.cancel()


def _value(ending: Ending) -> Any:
    """Return what the handler returned, or raise an error that stands for the one it raised."""
    if ending.error_type is not None:
        raise _error(ending.error_type, ending)
    if ending.cancel:
        return Cancel(ending.reason)
    if ending.snooze is not None:
        return Snooze(ending.snooze, ending.reason)
    return None if ending.result is None else msgspec.json.decode(ending.result)


def _error(error_type: str, ending: Ending) -> Remote:
    # A Retry without a wish of its own is what any error is; and no list of exceptions is asked about it once more.
    kind = type(error_type, (Remote, Permanent if ending.permanent else Retry), {"remote_stack": ending.stack_trace})
    error = kind(ending.error_message)
    if isinstance(error, Retry):
        error.after = ending.after
    return error


def _lives(process: subprocess.Popen[bytes]) -> bool:
    # Not `poll`, which would give its number, and that of its group, up to be used again.
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> None:
    _kill_group(process)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
