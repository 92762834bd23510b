"""`ledger dev` runs what the application declares, whatever its queues are called."""

from __future__ import annotations

import sys

import pytest

from ledger.cli_output import Failure
from ledger.dev import queues
from ledger.settings import from_env

APP = """
from ledger import Ledger
ledger = Ledger()
ledger.job("email.send", queue="mail")(lambda: None)
ledger.job("report.build")(lambda: None)
"""


@pytest.fixture
def app(tmp_path, monkeypatch):
    (tmp_path / "shop_jobs.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield "shop_jobs:ledger"
    sys.modules.pop("shop_jobs", None)


@pytest.mark.parametrize(
    ("setting", "taken"),
    [("critical,default", ["critical", "default", "mail"]), ("default:3,low:1", ["default:3", "low:1", "mail:1"])],
)
def test_the_queues_of_the_handlers_are_taken_too(app, setting, taken):
    assert queues(app, from_env({"WORKER_QUEUES": setting})) == taken


def test_an_application_that_cannot_be_imported_is_said_at_once(app):
    with pytest.raises(Failure, match="no_such_module"):
        queues("no_such_module:ledger", from_env({}))
