"""At the end of a complete run of the suite, every row of `ops/contract.toml` and `ops/guarantees.md` must be proved.

Only the process that the tests report to has this plugin, with `-n` too. A run of a part of the suite checks nothing.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ops import proofs

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTIAL = ("keyword", "markexpr", "collectonly", "lf", "stepwise", "deselect", "ignore", "ignore_glob")
"""Options that leave tests out."""


class Proving:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._outcomes: defaultdict[str, set[str]] = defaultdict(set)
        self._complaints: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.rpartition("::")[2].partition("[")[0]
        if report.when == "call" or not report.passed:
            self._outcomes[name].add(report.outcome)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.shouldstop or session.shouldfail or session.exitstatus > pytest.ExitCode.TESTS_FAILED:
            return
        if not is_complete(self._config):
            return
        self._complaints = list(self._judge())
        if self._complaints and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._complaints:
            terminalreporter.section("not proved", red=True)
        for complaint in self._complaints:
            terminalreporter.line(complaint)

    def _judge(self) -> Iterator[str]:
        passed = {name for name, outcomes in self._outcomes.items() if outcomes == {"passed"}}
        rows = proofs.contract(proofs.names())
        for row in [*rows, *proofs.guarantees()]:
            for test in set(row.tests) - passed:
                yield f"{row.section}, {row.name}: {test} {self._ended(test)}"
        if self._config.option.parity_status:
            proofs.STATUS.write_text(proofs.page(rows, passed))
        elif not proofs.STATUS.exists() or proofs.STATUS.read_text() != proofs.page(
            rows, {test for row in rows for test in row.tests}
        ):
            yield "ops/PARITY_STATUS.md is not what the rows and tests say: run `make parity`"

    def _ended(self, test: str) -> str:
        return " and ".join(sorted(self._outcomes[test])) or "did not run"


def is_complete(config: pytest.Config) -> bool:
    """Whether this run was asked for everything there is."""
    asked = [config.invocation_params.dir / argument for argument in config.args]
    return asked == [Path(config.rootpath) / "tests"] and not any(
        getattr(config.option, option, None) for option in PARTIAL
    )
