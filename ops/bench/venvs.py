"""The peers' environments: one each, under `.bench/venvs`, from the versions that `pins/` fixes."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from ledger.cli_output import Failure
from ops.bench.catalogue import PEERS

ROOT = Path(__file__).parent.parent.parent
HOME = ROOT / ".bench"
PINS = Path(__file__).parent / "pins"


def python(peer: str) -> Path:
    """Return the interpreter a system runs in; ours is the project's own."""
    return Path(sys.executable) if peer == "ledger" else HOME / "venvs" / peer / "bin" / "python"


def installed(peer: str) -> bool:
    """Whether the environment is there and was made from the present pins."""
    return peer == "ledger" or (_stamp(peer).is_file() and _stamp(peer).read_text() == _digest(peer))


def install(peer: str, limit: float = 600) -> None:
    """Make the environment afresh; raise CalledProcessError or TimeoutExpired when that fails."""
    place = HOME / "venvs" / peer
    shutil.rmtree(place, ignore_errors=True)
    steps = (
        [interpreter(PEERS[peer].python), "-m", "venv", "--without-pip", str(place)],
        [
            *(sys.executable, "-m", "pip", "--python", str(python(peer)), "install", "--quiet"),
            *("--disable-pip-version-check", "-r", str(PINS / f"{peer}.txt")),
        ],
    )
    for step in steps:
        subprocess.run(step, check=True, capture_output=True, text=True, timeout=limit)
    _stamp(peer).write_text(_digest(peer))


def interpreter(least: tuple[int, int]) -> str:
    """Return a Python that is new enough: our own, or one on the search path; raise Failure if there is none."""
    if sys.version_info[:2] >= least:
        return sys.executable
    for minor in range(least[1], least[1] + 6):
        found = shutil.which(f"python3.{minor}")
        if found and subprocess.run([found, "-c", ""], check=False, capture_output=True).returncode == 0:
            return found
    raise Failure(f"it needs Python 3.{least[1]} or newer, as python3.{least[1]} on the search path")


def version(peer: str, package: str) -> str:
    """Return the version that is measured: of a peer the pinned one, of Ledger the one of this tree."""
    if peer == "ledger":
        return "this tree"
    for line in (PINS / f"{peer}.txt").read_text().splitlines():
        found, _, number = line.partition("==")
        if found.lower() == package:
            return number.strip()
    return "?"


def _stamp(peer: str) -> Path:
    return HOME / "venvs" / peer / "pins.sha256"


def _digest(peer: str) -> str:
    return hashlib.sha256((PINS / f"{peer}.txt").read_bytes()).hexdigest()
