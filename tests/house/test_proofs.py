"""Every guarantee, and every row of the contract, names tests that are there, each of them once."""

from __future__ import annotations

import pytest

from ops import proofs

NAMES = proofs.names()
ROWS = [*proofs.guarantees(), *proofs.contract(NAMES)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.section}-{row.name}")
def test_a_row_is_held_by_tests(row: proofs.Row) -> None:
    assert row.tests
    assert {test: NAMES[test] for test in row.tests} == dict.fromkeys(row.tests, 1)
