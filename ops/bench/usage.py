"""What processes use, from /proc: CPU time of a whole family, resident memory."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """Return the process and all it has started, and those they have."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        if fields := _fields(int(path.name)):
            children.setdefault(int(fields[1]), []).append(int(path.name))
    found = [pid]
    for each in found:  # grows as it goes
        found += children.get(each, ())
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a family, with that of members who have ended and were waited for."""
    return sum(sum(map(int, fields[11:15])) for each in family(pid) if (fields := _fields(each))) / _TICK


def resident(pid: int) -> list[int]:
    """Return the resident bytes of each member of a family."""
    return [size for each in family(pid) if (size := _status_kib(each, "VmRSS:") * 1024)]


def parent(pid: int) -> int:
    return int(_fields(pid)[1])


def name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _fields(pid: int) -> list[str]:
    """State, parent and so on; empty for a process that is not there."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _status_kib(pid: int, key: str) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1])
    return 0
