"""An application whose handlers behave badly in every way a worker must survive."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from typing import Any

from ledger import Cancel, Job, Ledger
from tests.support import hostile

ledger = Ledger()


@ledger.job("add")
def add(a: int, b: int) -> int:
    return a + b


@ledger.job("who")
def who() -> int:
    return os.getpid()


kept: list[bytes] = []


@ledger.job("grow")
def grow(mebibytes: int) -> int:
    """Keep memory for good, as a leak does."""
    kept.append(b"x" * (mebibytes << 20))
    return os.getpid()


@ledger.job("raises")
def raises() -> None:
    raise LookupError("not there")


@ledger.job("die")
def die() -> None:
    os._exit(3)


@ledger.job("wait_for_file")
def wait_for_file(job: Job, path: str) -> list[int]:
    """Say in the file's name that it runs, and run until somebody writes `<path>.go`."""
    with open(f"{path}.{job.attempt}.pid", "x") as file:  # noqa: PTH123
        file.write(str(os.getpid()))
    while not os.path.exists(f"{path}.go") and not job.wait(0.02):  # noqa: PTH110
        pass
    return [os.getpid(), job.token.lease_version]


@ledger.job("hold_the_gil")
def hold_the_gil(seconds: float) -> int:
    """Run nothing but this for a while, as a long C call does."""
    import ctypes  # noqa: PLC0415

    ends_at = time.monotonic() + seconds
    usleep = ctypes.PyDLL(None).usleep
    while time.monotonic() < ends_at:
        usleep(200_000)
    return os.getpid()


@ledger.job("in_process", executor="process")
def in_process(job: Job) -> dict[str, object]:
    return {"pid": os.getpid(), "attempt": job.attempt, "worker_id": job.worker_id}


@ledger.job("process_hangs", executor="process", timeout=1, max_retries=0)
def process_hangs(path: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123
        file.write(str(os.getpid()))
    while True:
        pass


@ledger.job("process_raises", executor="process", max_retries=0)
def process_raises() -> None:
    raise LookupError("not there")


class Mute(Exception):
    """Fails even at saying what it is."""

    def __str__(self) -> str:
        raise LookupError


@ledger.job("process_raises_rubbish", executor="process", max_retries=0)
def process_raises_rubbish(mute: bool) -> None:
    raise Mute if mute else ValueError("\ud800 and \0")


@ledger.job("process_dies", executor="process")
def process_dies() -> None:
    os._exit(9)


@ledger.job("process_forks", executor="process")
def process_forks(path: str, then: str) -> None:
    """Start two children, write down who they are, and hang or exit while they live on."""
    child = os.fork()
    if not child:
        time.sleep(600)
    program = subprocess.Popen(["sleep", "600"])
    with open(path, "a") as file:  # noqa: PTH123
        file.write(f"{os.getpid()} {child} {program.pid}\n")
    if then == "exit":
        os._exit(5)
    time.sleep(600)


@ledger.job("process_holds_the_gil", executor="process")
def process_holds_the_gil(path: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123
        file.write(str(os.getpid()))
    hold_the_gil(600.0)


@ledger.job("process_returns", executor="process")
def process_returns(value: Any) -> Any:
    return value


@ledger.job("process_returns_a_huge_number", executor="process")
def process_returns_a_huge_number() -> int:
    return 2**70


@ledger.job("process_leaves_a_thread", executor="process")
def process_leaves_a_thread(job: Job) -> None:
    """Have a thread speak on when the job has ended."""

    def speak() -> None:
        while True:
            job.log("from beyond")
            time.sleep(0.01)

    threading.Thread(target=speak, daemon=True).start()


@ledger.job("process_dawdles", executor="process")
def process_dawdles(job: Job) -> None:
    job.log("mine")
    time.sleep(0.3)


@ledger.job("async_interrupts")
async def async_interrupts() -> None:
    async def interrupt() -> None:
        raise KeyboardInterrupt

    await asyncio.gather(interrupt(), asyncio.sleep(600))


@ledger.job("async_stops_the_loop")
async def async_stops_the_loop() -> str:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)
    return "stopped"


@ledger.job("process_speaks", executor="process")
def process_speaks(job: Job) -> int:
    job.progress(0.25, "a quarter")
    job.log("a note")
    job.progress(1)
    return 3


@ledger.job("process_is_picky", executor="process", retry_on=ConnectionError)
def process_is_picky(fatal: bool) -> None:
    raise ValueError("fatal") if fatal else ConnectionResetError("passing")


@ledger.job("process_cancels", executor="process")
def process_cancels() -> None:
    raise Cancel("not wanted")


@ledger.job("hostile")
def behaves_badly(how: str) -> object:
    return hostile.WAYS[how]()


@ledger.job("async_hostile")
async def async_behaves_badly(how: str) -> object:
    return hostile.WAYS[how]()


@ledger.job("process_hostile", executor="process")
def process_behaves_badly(how: str) -> object:
    return hostile.WAYS[how]()


@ledger.job("surroundings")
def surroundings() -> dict[str, object]:
    return hostile.surroundings()


@ledger.job("process_surroundings", executor="process")
def process_surroundings() -> dict[str, object]:
    return hostile.surroundings()
