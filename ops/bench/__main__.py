"""`python -m ops.bench`: measure Ledger and its peers; see the package's docstring.

python -m ops.bench --quick
python -m ops.bench --only drain,latency --peers ledger,huey
python -m ops.bench --resume --write
"""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING

import click

from ledger.cli_failures import Failure, reported
from ops.bench import guard as guard_
from ops.bench import plan, report, results, running, servers, sizes
from ops.bench.catalogue import PEERS
from ops.bench.catalogue import QUICK as QUICK_PEERS
from ops.bench.venvs import HOME, ROOT

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

HERE = ROOT / "ops" / "bench"


class Names(click.ParamType):
    """Several names out of those there are, with commas in between."""

    name = "names"

    def __init__(self, known: Collection[str], aliases: dict[str, str] | None = None) -> None:
        self._known, self._aliases = tuple(known), aliases or {}

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        if not isinstance(value, str):
            return list(value)  # type: ignore[call-overload]
        found = [self._aliases.get(name.strip(), name.strip()) for name in value.split(",")]
        if unknown := [name for name in found if name not in self._known]:
            self.fail(f"{', '.join(unknown)}: there are {', '.join(self._known)}", param, ctx)
        return list(dict.fromkeys(found))


@click.group(invoke_without_command=True, epilog="A part that fails is told and left out; --resume tries it again.")
@click.option(
    "--quick", is_flag=True, help="Under two minutes, once the peers are installed: four systems, small sizes, once."
)
@click.option("--full", is_flag=True, help="The whole sizes for growth: 20 million events, a million jobs. Hours.")
@click.option("--scale", type=click.FloatRange(0.001, 100), default=1.0, help="Multiply all amounts. [default: 1]")
@click.option("--repetitions", type=click.IntRange(1, 99), help="[default: 3]")
@click.option("--only", type=Names(plan.MEASURES, plan.ALIASES), help=f"Of {', '.join(plan.MEASURES)}.")
@click.option("--peers", type=Names(PEERS), help=f"Of {', '.join(PEERS)}.")
@click.option("--resume", is_flag=True, help="Go on with the latest run: what is on disk is not measured again.")
@click.option("--write", is_flag=True, help="Write ops/bench/RESULTS.md and its pictures, not only .bench/report/.")
@click.pass_context
def main(
    context: click.Context,
    quick: bool,
    full: bool,
    scale: float,
    repetitions: int | None,
    only: list[str] | None,
    peers: list[str] | None,
    resume: bool,
    write: bool,
) -> None:
    """Measure Ledger and its peers in turn, under one harness, on this machine.

    Installs the peers into .bench/, starts embedded servers that flush what they
    acknowledge (or takes those of DATABASE_URL and REDIS_URL), and writes tables,
    pictures and JSON.
    """
    if context.invoked_subcommand is not None:
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything is stopped and cleared away
    wanted = peers or list(QUICK_PEERS if quick else PEERS)
    amounts = sizes.chosen(quick=quick, full=full, scale=scale, repetitions=repetitions)
    begun = time.monotonic()
    with reported():
        try:
            measure(wanted, only or list(plan.QUICK if quick else plan.MEASURES), amounts, resume=resume)
            _report(write=write)
        finally:
            minutes, seconds = divmod(round(time.monotonic() - begun), 60)
            _say(f"elapsed: {minutes} min {seconds} s, with what had to be installed")


@main.command("report")
@click.option("--write", is_flag=True, help="Write ops/bench/RESULTS.md, not only .bench/report/.")
def report_(write: bool) -> None:
    """Make tables and pictures of the latest run, whole or not, without measuring."""
    with reported():
        _report(write=write)


@main.command()
@click.option("--record", is_flag=True, help="Keep this run among those from which the floors come.")
def guard(record: bool) -> None:
    """Compare Ledger with raw Postgres in one run; exit 1 below a floor.

    Two minutes. A floor is 0.7 of the lowest of the runs in ops/bench/floors.json.
    They hold for ratios, so a slower machine does not matter; a busy one still
    does. That is why this is not part of the tests or of `make check`: run it on a
    quiet machine, before and after a change to a hot path.
    """
    with reported():
        kept = guard_.check(_say, record=record)
    sys.exit(0 if kept else 1)


def measure(peers: Sequence[str], measures: Sequence[str], amounts: sizes.Sizes, *, resume: bool) -> Path:
    """Measure and return the directory of the run."""
    failed = running.install(peers, _say)
    ready = [peer for peer in peers if peer not in failed]
    with servers.opened() as installed:
        run = running.begin(amounts, installed, ready, _say, resume=resume)
        for peer, reason in failed.items():
            (run.place / f"{peer}.error").write_text(reason + "\n")
        jobs = plan.jobs(ready, measures, amounts)
        for number, job in enumerate(jobs, 1):
            run.do(job, f"[{number}/{len(jobs)}]" + (f" {job.repetition}." if amounts.repetitions > 1 else ""))
    return run.place


def _report(*, write: bool) -> None:
    found = results.load(running.latest())
    place, page = (HERE / "results", HERE / "RESULTS.md") if write else (HOME / "report", HOME / "RESULTS.md")
    report.write(found, place, page)
    _say("\n" + report.text(found))
    _say(f"written: {page.relative_to(ROOT)}, pictures and JSON in {place.relative_to(ROOT)}/")
    if found.failures:
        raise Failure(f"{len(found.failures)} parts failed; --resume tries them again")


def _say(words: str) -> None:
    click.echo(words)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
