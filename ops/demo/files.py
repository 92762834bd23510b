"""The input: every Python file of the running interpreter's standard library, and how its job is asked for.

Where the library comes without the files that are broken on purpose, stand-ins take their place.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.demo import stand_ins

if TYPE_CHECKING:
    from collections.abc import Sequence

LIBRARY = Path(sysconfig.get_paths()["stdlib"])
QUEUES = {"modules": 3, "packages": 2, "tests": 1}
"""The queues of the demonstration with their weights; none of them starves."""

_FOREIGN = {"site-packages", "dist-packages"}
_TESTS = {"test", "tests", "idle_test"}


def library_files(directory: Path, limit: int | None = None) -> list[Path]:
    """Return the files, sorted; with a limit that many, the ones that are broken on purpose first.

    `directory` is where stand-ins are written when the library has none.
    """
    found = sorted(path for path in LIBRARY.rglob("*.py") if not _FOREIGN & set(path.relative_to(LIBRARY).parts))
    if not any(map(_is_broken, found)):
        found += stand_ins.write(directory.resolve())
    if limit is None or limit >= len(found):
        return found
    interesting = sorted((path for path in found if _is_interesting(path)), key=lambda path: path.name)
    chosen = dict.fromkeys(interesting[: limit // 2])
    others = [path for path in found if path not in chosen]
    missing = limit - len(chosen)
    step = len(others) / missing
    return sorted([*chosen, *(others[int(n * step)] for n in range(missing))])


def request(path: Path, number: int, run: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the request for the job of a file: a queue by its place, a priority by its size, now and then a delay."""
    asked: dict[str, Any] = {
        "type": "source.examine",
        "payload": {"path": str(path)},
        "queue": _queue(path),
        "priority": _priority(path),
        "correlation_id": run,
        "metadata": {"run": run, "file": name(path)},
        **options,
    }
    if number % 20 == 0:
        asked["delay"] = f"{1 + number % 3}s"
    return asked


def name(path: Path | str) -> str:
    """Return a file's name as people know it: seen from the library, or from the stand-ins' folder."""
    path = Path(path)
    return (path.relative_to(LIBRARY) if is_in_library(path) else Path(path.parent.name, path.name)).as_posix()


def is_in_library(path: Path) -> bool:
    return path.is_relative_to(LIBRARY)


def total_size(paths: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _is_interesting(path: Path) -> bool:
    """Whether a file is likely to fail, or to need a second look."""
    return _is_broken(path) or not is_in_library(path) or path.parent.name in {"encoded_modules", "data"}


def _is_broken(path: Path) -> bool:
    return path.name.startswith("bad")


def _queue(path: Path) -> str:
    if not is_in_library(path):
        return "tests"
    inside = path.relative_to(LIBRARY).parts
    if _TESTS & set(inside):
        return "tests"
    return "modules" if len(inside) == 1 else "packages"


def _priority(path: Path) -> str:
    if path.name == "__init__.py":
        return "critical"
    size = path.stat().st_size
    return "high" if size < 4_000 else "medium" if size < 40_000 else "low"
