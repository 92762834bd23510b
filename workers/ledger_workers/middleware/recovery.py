"""Recovery: whatever a handler raises ends its own job and nothing else.

SystemExit, KeyboardInterrupt and their like are meant to end a process. A job that raises one has failed like any
other, so here it becomes an ordinary exception; the recorded failure keeps its name and traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ledger.outcomes import message_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.handlers import Job


class Escaped(Exception):
    """Something that is not an ordinary exception came out of a handler; `original` is what."""

    def __init__(self, original: BaseException) -> None:
        self.original = original
        super().__init__(f"{type(original).__name__}: {message_of(original)}")


def recovery(job: Job, call_next: Callable[[Job], Any]) -> Any:
    """Let nothing out but ordinary exceptions."""
    try:
        return call_next(job)
    except Exception:
        raise
    except BaseException as error:  # the boundary of a job
        raise Escaped(error) from error
