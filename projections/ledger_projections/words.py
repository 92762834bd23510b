"""The words that filters take: ours, and those of job-queue that mean them.

Plain text, so that a command line that only wants to know them loads nothing else.
"""

from __future__ import annotations

STATES = ("scheduled", "ready", "running", "retrying", "succeeded", "dead", "cancelled", "discarded")
"""Where a job can be found."""
RUN_STATES = ("running", "succeeded", "failed", "dead", "snoozed", "released", "crashed", "cancelled")
"""What became of a run."""
PRIORITIES = ("critical", "high", "medium", "low")

_OLD = {"pending": "ready", "queued": "ready", "processing": "running", "completed": "succeeded"}


def meanings(words: tuple[str, ...]) -> dict[str, str]:
    """Return what each word means: itself, and the old words what they mean among these."""
    return {word: word for word in words} | {old: word for old, word in _OLD.items() if word in words}
