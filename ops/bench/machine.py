"""What the figures were taken on."""

from __future__ import annotations

import os
import platform
import shutil
import time
from contextlib import suppress
from pathlib import Path


def described() -> dict[str, str]:
    """Return what a reader must know of the machine, and how busy others kept it when the run began."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "when": time.strftime("%Y-%m-%d %H:%M %Z"),
        "machine": f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "load by others at the start": f"{os.getloadavg()[0]:.2f}",
        "HTTP load by": "wrk" if shutil.which("wrk") else "a client of our own in Python, slower than wrk",
    }


def is_busy() -> bool:
    """Whether others leave too little of the machine for figures that mean something."""
    return os.getloadavg()[0] > (os.cpu_count() or 1) * 0.5


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
