"""`ledger dev` runs what the application declares, whatever its queues are called."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from ledger.cli_output import Failure
from ledger.dev import queues
from ledger.dev_servers import Servers
from ledger.errors import Unavailable
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


def test_a_server_that_dies_again_at_once_is_gone_for_good():
    said: list[str] = []
    server = SimpleNamespace(title="Postgres", fall=None, log="its.log", start=lambda: None)
    servers = Servers(SimpleNamespace(), [server], said.append)
    assert servers.tend() is None
    assert said == []
    server.fall = "Postgres was killed by SIGKILL"
    assert servers.tend() is None
    assert said == ["Postgres was killed by SIGKILL; it is started again on the same data", "Postgres is up again"]
    assert servers.tend() == "Postgres was killed by SIGKILL, right after it was started again; its log is its.log"


def test_a_server_that_does_not_start_again_is_gone_for_good():
    def start() -> None:
        raise Unavailable("the disk is full")

    server = SimpleNamespace(title="Valkey", fall="Valkey ended with exit code 1", start=start)
    lost = Servers(SimpleNamespace(), [server], lambda _: None).tend()
    assert lost == "Valkey ended with exit code 1 and cannot be started again: the disk is full"
