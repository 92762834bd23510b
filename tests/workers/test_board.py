"""What a process holds can be read by another, also after it was killed in the middle."""

from __future__ import annotations

import subprocess
import sys

from ledger_workers.board import Board
from ledger_workers.slots import Slots

from ledger import ids

HOLD_AND_DIE = """
import os, signal, sys, uuid
from ledger_workers.board import Board
board = Board(int(sys.argv[1]))
lines = [board.lease(uuid.UUID(text)) for text in sys.argv[2:]]
board.start(lines[1])
board.wipe(lines[2])
board.beat(2)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_notes_outlive_their_writer() -> None:
    board = Board.create(10)
    jobs = [ids.mint() for _ in range(3)]
    command = [sys.executable, "-c", HOLD_AND_DIE, str(board.descriptor), *map(str, jobs)]
    assert subprocess.run(command, pass_fds=[board.descriptor], check=False).returncode == -9
    assert {note.job_id: note.started for note in board.notes()} == {jobs[0]: False, jobs[1]: True}
    assert board.running() == 2
    assert board.seconds_since_beat() < 60
    board.close()


def test_a_board_is_never_too_small() -> None:
    slots = Slots(3)
    board = Board.create(slots.most * 2)
    assert board.size >= slots.most
    for _ in range(3):
        lines = [board.lease(ids.mint()) for _ in range(board.size)]
        for line in lines:
            board.wipe(line)
    assert list(board.notes()) == []
    board.close()


def test_a_board_that_nobody_has_written_yet_is_young() -> None:
    board = Board.create(1)
    assert board.seconds_since_beat() < 10
    board.close()


def test_only_very_short_jobs_are_held_ahead() -> None:
    now = 0.0
    slots = Slots(4, clock=lambda: now)
    assert slots.wait(0) == 4
    for _ in range(200):  # 1,000 a second
        now += 0.001
        slots.take(1)
        slots.free(1)
    assert 4 < slots.wait(0) <= slots.most
    for _ in range(100):  # 66 a second, 60 ms each
        now += 0.015
        slots.take(1)
        slots.free(1)
    assert slots.wait(0) == 4
    for _ in range(20):  # 4 a second
        now += 0.25
        slots.take(1)
        slots.free(1)
    assert slots.wait(0) == 4
