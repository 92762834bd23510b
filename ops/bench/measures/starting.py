"""How long it takes until Python is ready to do something: imports, and the command's help."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median
from typing import TYPE_CHECKING, Any

from ops.bench.venvs import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from ops.bench.sizes import Sizes

_TIMED = "import time; begun = time.perf_counter(); {}; print((time.perf_counter() - begun) * 1000)"


def measure(sizes: Sizes) -> dict[str, Any]:
    return {
        "import_ms": _median(sizes, lambda: _imported("import ledger")),
        "import_client_ms": _median(sizes, lambda: _imported("from ledger import Ledger")),
        "help_ms": _median(sizes, _help),
    }


def _median(sizes: Sizes, once: Callable[[], float]) -> float:
    once()  # bytecode and page cache
    return median(once() for _ in range(sizes.starts))


def _imported(words: str) -> float:
    command = [sys.executable, "-c", _TIMED.format(words)]
    return float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout)


def _help() -> float:
    begun = time.monotonic()
    command = [sys.executable, "-m", "ledger", "--help"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    return (time.monotonic() - begun) * 1000
