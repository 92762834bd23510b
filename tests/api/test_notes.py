"""GET /jobs/{id}/notes, and the text of `ledger job get` and `job events`: what handlers have said."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from ledger import notes
from ledger.cli import main
from ledger.handlers import Token
from ledger.job import fold
from tests.support.api import NOBODY, problem


@pytest.fixture
def job_id(ledger, lives) -> str:
    """A job in its second run, which has said something in both."""
    job_id = lives.enqueue()
    for said in ([(0.5, "half"), (None, "no more")], [(0.25, None), (None, "said later")]):
        lives.lease(job_id)
        job = fold(ledger.history(job_id))
        run = notes.RunNotes(Token(job_id, job.version))
        for progress, message in said:
            run.add(progress, message)
        notes.write(ledger.database, [run])
        if job.attempt == 1:
            lives.fail(job_id)
            ledger.run_now(job_id)
    return str(job_id)


def test_notes_are_listed_run_by_run(api, job_id):
    answer = api.get(f"/jobs/{job_id}/notes")
    assert answer.status_code == 200
    assert [(n["lease_version"], n["attempt"], n["number"], n["progress"], n["message"]) for n in answer.json] == [
        (2, 1, 1, 0.5, "half"),
        (2, 1, 2, None, "no more"),
        (6, 2, 1, 0.25, None),
        (6, 2, 2, None, "said later"),
    ]
    assert all(note["at"].endswith("Z") for note in answer.json)


def test_a_silent_job_has_none_and_an_unknown_one_is_not_found(api, lives):
    assert api.get(f"/jobs/{lives.enqueue()}/notes").json == []
    problem(api.get(f"/jobs/{NOBODY}/notes"), 404, "not_found")
    problem(api.get("/jobs/nonsense/notes"), 404, "not_found")
    problem(api.get(f"/jobs/{NOBODY}/notes?limit=1"), 400, "invalid_parameter")


def test_the_command_line_shows_the_latest_with_the_job_and_all_with_its_history(ledger, job_id):
    environment = {"DATABASE_URL": ledger.database_url, "REDIS_URL": ledger.redis_url, "COLUMNS": "200"}

    def lines(*arguments: str) -> list[str]:
        result = CliRunner(env=environment).invoke(main, ["job", *arguments, job_id], prog_name="ledger")
        assert result.exit_code == 0, result.output
        return result.output.splitlines()

    latest, history = lines("get"), lines("events")
    assert any("25%" in line for line in latest)
    assert any("said later" in line for line in latest)
    assert not any("half" in line for line in latest)
    assert any("50%" in line and "half" in line for line in history)
    assert sum("said later" in line for line in history) == 1
