"""Children that run together: heard, missed when they end, stopped in time, and never left behind."""

from __future__ import annotations

import signal
import sys
import threading

import psutil
import pytest

from ledger.runtime.processes import Crew, Ended, Order, Signalled

STUBBORN = (
    "import signal, threading; signal.signal(15, signal.SIG_IGN); print('up', flush=True); threading.Event().wait()"
)
PARENT = (
    "import subprocess, sys, threading; p = subprocess.Popen([sys.executable, '-c', 'import threading; "
    "threading.Event().wait()']); print(p.pid, flush=True); threading.Event().wait()"
)


def order(code: str, name: str = "child", patience: float = 10.0) -> Order:
    return Order(name, [sys.executable, "-c", code], patience)


@pytest.fixture
def heard():
    """What the children wrote, and a way to wait for the next line."""

    class Heard:
        def __init__(self) -> None:
            self.lines: list[tuple[str, str]] = []
            self._spoken = threading.Condition()

        def __call__(self, name: str, line: str) -> None:
            with self._spoken:
                self.lines.append((name, line))
                self._spoken.notify_all()

        def first(self) -> str:
            with self._spoken:
                assert self._spoken.wait_for(lambda: self.lines, timeout=20)
                return self.lines[0][1]

    return Heard()


@pytest.fixture
def crew(heard):
    crew = Crew(heard, {"PATH": "/usr/bin:/bin", "GREETING": "hello"})
    yield crew
    crew.kill()
    crew.stop()


def test_lines_come_with_the_name_of_the_child(crew: Crew, heard):
    crew.start(order("import os, sys; print(os.environ['GREETING']); print('oh', file=sys.stderr)"))
    assert crew.news(timeout=20) == Ended("child", 0)
    assert sorted(heard.lines) == [("child", "hello"), ("child", "oh")]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit(3)", "child ended with exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "child was killed by SIGKILL"),
    ],
)
def test_an_end_nobody_asked_for_is_news(crew: Crew, code: str, words: str):
    crew.start(order(code))
    news = crew.news(timeout=20)
    assert isinstance(news, Ended)
    assert news.in_words() == words


def test_an_end_somebody_asked_for_is_none(crew: Crew):
    pid = crew.start(order("import threading; threading.Event().wait()")).pid
    crew.stop()
    assert crew.news(timeout=0.1) is None
    assert not crew.pids
    assert not psutil.pid_exists(pid)


def test_who_does_not_leave_is_killed(crew: Crew, heard):
    pid = crew.start(order(STUBBORN, patience=0.2)).pid
    assert heard.first() == "up"
    crew.stop("child")
    assert not psutil.pid_exists(pid)
    assert "is killed" in heard.lines[-1][1]


def test_what_a_child_started_goes_with_it(crew: Crew, heard):
    crew.start(order(PARENT))
    grandchild = psutil.Process(int(heard.first()))
    crew.stop()
    assert psutil.wait_procs([grandchild], timeout=10)[0]


def test_who_leads_a_group_of_its_own_is_killed_too(crew: Crew, heard):
    crew.start(order(PARENT.replace("wait()'])", "wait()'], start_new_session=True)")))
    grandchild = psutil.Process(int(heard.first()))
    crew.kill()
    assert psutil.wait_procs([grandchild], timeout=10)[0]


def test_signals_are_news_and_the_second_one_kills(crew: Crew, heard):
    pid = crew.start(order(STUBBORN)).pid
    assert heard.first() == "up"
    with crew.signals(signal.SIGUSR1):
        signal.raise_signal(signal.SIGUSR1)
        assert crew.news(timeout=20) == Signalled(signal.SIGUSR1)
        assert not crew.killed
        signal.raise_signal(signal.SIGUSR1)
    assert crew.killed
    crew.stop()
    assert not psutil.pid_exists(pid)
