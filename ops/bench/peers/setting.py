"""What a peer's module may ask: where the servers are, how it is to run, and the mark that is the whole job."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from ops.bench import stamps

DATABASE_URL = os.environ["DATABASE_URL"]
REDIS_URL = os.environ["REDIS_URL"]
MODE = os.environ["BENCH_MODE"]
"""plain, async (coroutine handlers), many (as much in flight as the system allows) or two (two worker processes)."""
CONCURRENCY = 10
"""Jobs at once, all processes together; in mode `many` each module says what it does."""
PROCESSES = 2 if MODE == "two" else 1
EACH = CONCURRENCY // 2 if MODE in {"two", "half"} else CONCURRENCY
"""Jobs at once in one worker process; `half` is one of two processes that `twice` has started."""

mark = stamps.opened(stamps.STARTED).stamp


def become(program: str, *arguments: str) -> NoReturn:
    """Turn this process into a program of the environment it runs in."""
    path = Path(sys.executable).parent / program
    os.execv(path, [str(path), *arguments])
