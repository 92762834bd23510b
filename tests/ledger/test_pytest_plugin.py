"""The pytest plugin: registered by entry point, light until it is used, its fixtures need no server."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

JOBS = """
from ledger import Ledger

ledger = Ledger(database_url="postgresql://nobody@127.0.0.1:1/none", redis_url="redis://127.0.0.1:1/0")

@ledger.job("email.send")
def send_email(to: str) -> str:
    return to.upper()
"""

SETTINGS = """
[pytest]
addopts = -p no:cacheprovider -p no:schemathesis -p no:hypothesispytest -p no:xdist -p no:anyio
filterwarnings = error
pythonpath = .
"""


@pytest.fixture
def project(pytester):
    pytester.makepyfile(jobs=JOBS)
    pytester.makeini(SETTINGS + "ledger_app = jobs:ledger\n")
    return pytester


def test_the_fixtures_put_the_application_into_a_mode(project):
    project.makepyfile("""
        from datetime import timedelta
        from jobs import ledger, send_email
        from ledger.testing import assert_enqueued, refute_enqueued

        def test_inline(ledger_inline):
            assert ledger.get(send_email.enqueue(to="a")).result == "A"

        def test_manual(ledger_manual, ledger_clock):
            send_email.schedule(to="a", delay="1h")
            assert assert_enqueued("email.send", to="a").state == "scheduled"
            assert ledger_manual.drain() == []
            ledger_clock.advance(timedelta(hours=1))
            assert [job.result for job in ledger_manual.drain()] == ["A"]

        def test_each_test_begins_with_nothing(ledger_manual):
            refute_enqueued("email.send")
            assert ledger_manual.ledger is ledger
    """)
    project.runpytest_subprocess().assert_outcomes(passed=3)


def test_an_application_may_give_its_ledger_by_a_fixture_of_its_own(project):
    project.makeini(SETTINGS)
    project.makepyfile("""
        import pytest
        import jobs

        @pytest.fixture
        def ledger_app():
            return jobs.ledger

        def test_inline(ledger_inline):
            assert jobs.ledger.get(jobs.send_email.enqueue(to="a")).state == "succeeded"
    """)
    project.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("", "*set ledger_app = module:attribute*"),
        ("ledger_app = jobs:send_email", "*jobs:send_email is no Ledger but BoundHandler*"),
    ],
)
def test_without_an_application_the_test_is_told_what_to_do(project, setting, said):
    project.makeini(SETTINGS + setting)
    project.makepyfile("def test_inline(ledger_inline): pass")
    result = project.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([said])


def test_a_test_without_jobs_does_not_wait_for_the_drivers(project):
    project.makepyfile("""
        import sys

        def test_light():
            assert "ledger.pytest_plugin" in sys.modules
            heavy = {"psycopg", "redis", "msgspec", "sqlalchemy", "ledger.client", "ledger.testing"}
            assert not heavy & sys.modules.keys()
    """)
    project.runpytest_subprocess().assert_outcomes(passed=1)


def test_a_failed_assertion_is_shown_where_the_test_made_it(project):
    project.makepyfile("""
        def test_enqueued(ledger_manual):
            ledger_manual.ledger.enqueue("email.send", {"to": "a"})
            ledger_manual.assert_enqueued("email.send", to="b")
    """)
    result = project.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*to is 'a', not 'b'", "test_a_failed_assertion_is_shown_where_the_test_made_it.py:3: *"]
    )
