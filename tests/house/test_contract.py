"""The contract's rows are complete: what the code offers has a row, and every row is of something that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest
from ledger_api.app import create_app
from ledger_api.mcp.tools import TOOLS
from ledger_api.problems import KINDS
from ledger_projections.queries import Queries

from ledger import Ledger
from ledger.cli import main
from ledger.events import Kind
from ledger.requests import Enqueue
from ledger.schedule_requests import ScheduleRequest
from ledger.settings import VARIABLES, from_env
from ops import proofs
from tests.support.contract import described, description, routes

if TYPE_CHECKING:
    from collections.abc import Iterator

    import falcon

    from tests.support.contract import Json

ROWS = proofs.contract(proofs.names())


def named(section: str) -> set[str]:
    return {row.name for row in ROWS if row.section == section}


@pytest.fixture(scope="module")
def app() -> Iterator[falcon.App]:
    """The API, which asks nobody while its routes are looked at."""
    ledger = Ledger(database_url="postgresql://x@127.0.0.1:1/x", redis_url="redis://127.0.0.1:1/0")
    yield create_app(ledger, Queries(ledger.database), from_env({}))
    ledger.close()


@pytest.fixture(scope="module")
def document(app: falcon.App) -> Json:
    return description(app)


def commands(group: click.Group, *path: str) -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        words = (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, *words)
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield " ".join(words)


def test_defects_and_properties_are_all_there() -> None:
    assert named("10. Defects of the original") == {f"D{number:02}" for number in range(1, 63)}
    assert named("11. Properties") == {f"T{number}" for number in range(1, 20)}


def test_a_row_stands_once() -> None:
    assert len({(row.section, row.name) for row in ROWS}) == len(ROWS)


def test_every_route_and_method(app: falcon.App) -> None:
    offered = {f"{method.upper()} {path}" for method, path in routes(app)}
    assert named("2. Routes") == offered


def test_every_error_code() -> None:
    assert named("1. Error codes") == set(KINDS)


def test_every_request_field(document: Json) -> None:
    assert named("3. Request fields: Enqueue") == set(Enqueue.__struct_fields__)
    assert named("3. Request fields: ScheduleRequest") == set(ScheduleRequest.__struct_fields__)
    action = described(document)["post", "/api/v1/jobs/cancel"]["requestBody"]["content"]["application/json"]["schema"]
    schema = document["components"]["schemas"][action["$ref"].rpartition("/")[2]]
    assert named("3. Request fields: BulkAction") == set(schema["properties"])


def test_every_resource(document: Json) -> None:
    assert named("4. Resources") <= set(document["components"]["schemas"])


def test_every_command() -> None:
    word_of_worker = {"worker list"}  # which otherwise takes an application
    assert named("6. Command line") == set(commands(main)) | word_of_worker


def test_every_tool() -> None:
    assert named("7. MCP") - {"server", "--read-only", "failures"} == set(TOOLS)


def test_every_setting() -> None:
    assert named("8. Settings") == {variable.name for variable in VARIABLES}


def test_every_event() -> None:
    assert named("9. States and events") - {"data", "any other step", "actors"} == {kind.value for kind in Kind}
