"""An application whose jobs leave a trace of every run in a file, for tests of the whole system."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from ledger import Job, Ledger

ledger = Ledger()


@ledger.job("add")
def add(a: int, b: int) -> int:
    return a + b


@ledger.job("read_file")
def read_file(path: str) -> str:
    """Fail as long as there is no such file."""
    return Path(path).read_text()


@ledger.job("wait_async")
async def wait_async(seconds: float) -> bool:
    await asyncio.sleep(seconds)
    return asyncio.get_running_loop().is_running()


@ledger.job("record")
def record(job: Job, path: str, seconds: float) -> None:
    """Write which lease this is and who runs it, and take a while: a line a run, whole or not at all."""
    line = f"{job.id} {job.token.lease_version} {os.getpid()}\n"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
    job.wait(seconds)
