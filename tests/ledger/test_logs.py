"""Log lines: one event a line, JSON or for people, whoever logs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import logging, threading, warnings
from types import SimpleNamespace
import structlog
from ledger.runtime.logs import configure
configure(SimpleNamespace(log_level={level!r}, log_format={form!r}), "worker")
log = structlog.get_logger()
log.debug("detail")
log.info("job succeeded", job_id="0198", message="two\\nlines")
logging.getLogger("gunicorn.error").info("Listening at %s", "here")
warnings.warn("careful")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("turn failed")
thread = threading.Thread(target=lambda: {{}}["missing"], name="loop")
thread.start()
thread.join()
raise RuntimeError("the end")
"""


def lines(level: str = "info", form: str = "json") -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(level=level, form=form)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert not done.stdout
    return done.stderr.splitlines()


def test_every_line_is_json_whoever_logs():
    events = [json.loads(line) for line in lines()]
    assert [event["event"].splitlines()[0].rpartition(": ")[2] for event in events] == [
        "job succeeded",
        "Listening at here",
        "careful",
        "turn failed",
        "uncaught exception",
        "uncaught exception",
    ]
    assert {event["service"] for event in events} == {"worker"}
    assert events[0]["message"] == "two\nlines"
    assert "ZeroDivisionError" in events[3]["exception"]
    assert events[4]["thread"] == "loop"
    assert "the end" in events[5]["exception"]
    assert all(event["at"].endswith("Z") for event in events)


@pytest.mark.parametrize(
    ("level", "shown", "hidden"),
    [("debug", "detail", None), ("info", "job succeeded", "detail"), ("error", "turn failed", "careful")],
)
def test_the_level_decides(level: str, shown: str, hidden: str | None):
    text = "\n".join(lines(level=level))
    assert shown in text
    assert hidden is None or hidden not in text


def test_console_lines_are_for_people_and_plain_in_a_pipe():
    told = lines(form="console")
    assert "job succeeded" in told[0]
    assert "\x1b" not in "\n".join(told)
