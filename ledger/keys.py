"""Every name Ledger uses in Redis, built here and nowhere else.

All begin with `ledger:`. What belongs to one queue carries the queue as hash tag, so that a cluster keeps it in one
slot.
"""

from __future__ import annotations

from ledger.events import Priority

PREFIX = "ledger"

GROUP = "workers"
"""The one consumer group of every dispatch stream."""

MARKER = f"{PREFIX}:dispatch"
"""String: written at the last refill. Gone means that this Redis has lost its contents, or is another one."""

MARK = f"{PREFIX}:mark"
"""String: `<job id>:<version>:<microseconds>` of the newest event that was read. A log without it has been rewound."""

WAKE = f"{PREFIX}:wake"
"""Channel: something was appended, look at once. Best effort, nothing depends on it."""

TOLD = f"{PREFIX}:told"
"""Channel: `<job id>:<version>` of each message that was added by who appended it, a space between. Read by dispatchers
when they look; it wakes nobody."""


def stream(queue: str, priority: Priority) -> str:
    """Stream: the ready jobs of one queue and priority, in the order in which they became ready."""
    return f"{PREFIX}:{{{queue}}}:{priority.word}"


def streams(queue: str) -> list[str]:
    """The four dispatch streams of a queue, the most urgent first."""
    return [stream(queue, priority) for priority in Priority]


def hold(queue: str) -> str:
    """String, soon gone by itself: while it is there, all messages of the queue come from the dispatcher."""
    return f"{PREFIX}:{{{queue}}}:hold"
