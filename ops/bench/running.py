"""A run: the parts one after the other, each a process with a time limit; what fails is told and stops nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ledger.cli_output import Failure
from ops.bench import machine, results, venvs
from ops.bench.catalogue import PEERS
from ops.bench.servers import durable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ops.bench.part import Job
    from ops.bench.servers import Servers
    from ops.bench.sizes import Sizes

    Tell = Callable[[str], None]

RUNS = venvs.HOME / "runs"
LEAVE = 40.0
"""Seconds a part that is out of time has for stopping what it has started."""


@dataclass(frozen=True, slots=True)
class Run:
    place: Path
    sizes: Sizes
    servers: Servers
    tell: Tell

    def do(self, job: Job, number: str) -> bool:
        """Do a part unless an earlier run of the same did; tell how it went."""
        out = self.place / f"{job.name}-{job.repetition}.part.json"
        error = out.with_suffix("").with_suffix(".error")
        if _done(out, job):
            self.tell(f"{number} {job.title}: done before")
            return True
        self.tell(f"{number} {job.title}")
        error.unlink(missing_ok=True)
        begun = time.monotonic()
        reason = self._child(job, out)
        if reason is not None:
            error.write_text(f"{job.title} (repetition {job.repetition}): {reason}\n")
            self.tell(f"    FAILED: {reason}")
        self.tell(f"    {time.monotonic() - begun:.1f} s")
        return reason is None

    def _child(self, job: Job, out: Path) -> str | None:
        given: dict[str, Any] = {"job": asdict(job), "out": str(out), "servers": asdict(self.servers),
                                 "sizes": asdict(self.sizes)}  # fmt: skip
        child = subprocess.Popen([sys.executable, "-m", "ops.bench.part", json.dumps(given)], cwd=venvs.ROOT,
                                 stderr=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip
        try:
            _, words = child.communicate(timeout=job.limit)
        except subprocess.TimeoutExpired:
            _end(child)
            return f"not done within {job.limit:,.0f} s"
        except BaseException:
            _end(child)
            raise
        if child.returncode == 0:
            return None
        return (words.strip().splitlines() or [f"exit code {child.returncode}"])[-1]


def begin(sizes: Sizes, servers: Servers, peers: Sequence[str], tell: Tell, *, resume: bool, home: Path = RUNS) -> Run:
    """Start a run in a directory of its own, or go on with the latest, which must have had the same sizes."""
    about = {"machine": machine.described(), "servers": servers.settings(), "sizes": asdict(sizes),
             "versions": {peer: venvs.version(peer, PEERS[peer].package) for peer in peers}}  # fmt: skip
    about["durable"] = durable(about["servers"])
    if not about["durable"]:
        tell("WARNING: these servers do not flush what they acknowledge; the figures say nothing about durable ones")
    if machine.is_busy():
        tell("WARNING: others are using this machine; the figures will be low and uneven")
    place = latest() if resume else home / time.strftime("%Y%m%d-%H%M%S")
    place.mkdir(parents=True, exist_ok=True)
    options = place / results.OPTIONS
    if options.exists():
        before = json.loads(options.read_text())
        if before["sizes"] != about["sizes"]:
            raise Failure(f"{place} was measured with other sizes; give the same options, or leave out --resume")
        about["versions"] = before["versions"] | about["versions"]
    options.write_text(json.dumps(about))
    for name, value in (about["servers"] | {f"size {name}": value for name, value in about["sizes"].items()}).items():
        tell(f"  {name}: {value}")
    return Run(place, sizes, servers, tell)


def latest() -> Path:
    """Return the directory of the latest run; raise Failure if there is none."""
    found = sorted(path.parent for path in RUNS.glob(f"*/{results.OPTIONS}"))
    if not found:
        raise Failure("there is no run yet")
    return found[-1]


def install(peers: Sequence[str], tell: Tell) -> dict[str, str]:
    """Make the environments that are missing; return what went wrong, by peer."""
    failed: dict[str, str] = {}
    for peer in peers:
        try:
            if not venvs.installed(peer):
                tell(f"installing {PEERS[peer].title} {venvs.version(peer, PEERS[peer].package)}")
                venvs.install(peer)
        except (Failure, OSError, subprocess.SubprocessError) as error:
            words = getattr(error, "stderr", None) or str(error)
            failed[peer] = f"{PEERS[peer].title} was not installed: {words.strip().splitlines()[-1]}"
            tell(f"    FAILED, and left out: {failed[peer]}")
    return failed


def _done(out: Path, job: Job) -> bool:
    with suppress(OSError, ValueError):
        return set(job.measures) <= set(json.loads(out.read_text())["job"]["measures"])
    return False


def _end(child: subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.wait(LEAVE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
