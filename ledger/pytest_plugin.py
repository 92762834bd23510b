"""The pytest plugin: fixtures that put an application's ledger into a test mode. Loads Ledger only when one is used.

Say which application in the settings of pytest (`ledger_app = "myapp.jobs:ledger"`), or override the fixture
`ledger_app`. Then `ledger_manual` and `ledger_inline` are the kit of the mode, and `ledger_clock` is its clock.
"""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.client import Ledger
    from ledger.testing import FrozenClock, Kit

_OPTION = "ledger_app"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(_OPTION, "the application whose jobs are tested, as module:attribute, such as myapp.jobs:ledger")


@pytest.fixture
def ledger_app(pytestconfig: pytest.Config) -> Ledger:
    """The application's Ledger, as the option `ledger_app` names it; override it where that is not enough."""
    name: str = pytestconfig.getini(_OPTION)
    if not name:
        pytest.fail(f"set {_OPTION} = module:attribute in pytest's settings, or override the fixture {_OPTION}")
    found = pkgutil.resolve_name(name)
    from ledger.client import Ledger  # noqa: PLC0415 — tests without jobs need not wait for the drivers

    if not isinstance(found, Ledger):
        pytest.fail(f"{_OPTION}: {name} is no Ledger but {type(found).__name__}")
    return found


@pytest.fixture
def ledger_clock() -> FrozenClock:
    """The clock of this test's mode. It stands still until it is moved."""
    from ledger.testing import FrozenClock  # noqa: PLC0415

    return FrozenClock()


@pytest.fixture
def ledger_inline(ledger_app: Ledger, ledger_clock: FrozenClock) -> Iterator[Kit]:
    """Jobs run when they are enqueued; an error of a handler is raised there."""
    from ledger.testing import inline  # noqa: PLC0415

    with inline(ledger_app, clock=ledger_clock) as kit:
        yield kit


@pytest.fixture
def ledger_manual(ledger_app: Ledger, ledger_clock: FrozenClock) -> Iterator[Kit]:
    """Jobs are kept until `ledger_manual.drain()`."""
    from ledger.testing import manual  # noqa: PLC0415

    with manual(ledger_app, clock=ledger_clock) as kit:
        yield kit
