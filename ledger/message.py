"""What travels on a dispatch stream: which job became ready, at which version. Never the payload: Redis holds no
secrets and no bulk, and the lease reads everything from the log anyway.

A message proves nothing. It may come twice, late or forged; the lease in the log decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

_LAST_VERSION = 2**31 - 2


class Message(msgspec.Struct, frozen=True, gc=False):
    """A job that became ready at `version`, for its `attempt`-th run."""

    job_id: UUID
    version: int
    attempt: int
    type: str

    def fields(self) -> dict[bytes | str, bytes | str | int]:
        """Return the stream entry's fields; `parse` reads them back."""
        return {"job": str(self.job_id), "version": self.version, "attempt": self.attempt, "type": self.type}


def parse(fields: Mapping[bytes, bytes]) -> Message | None:
    """Return the message of a stream entry, or None for one that is not ours to understand."""
    try:
        found = Message(
            msgspec.convert(fields[b"job"].decode(), UUID),  # a fifth of what Python's own parser takes
            int(fields[b"version"]),
            int(fields.get(b"attempt", b"1")),
            fields[b"type"].decode(),
        )
    except (KeyError, ValueError, msgspec.ValidationError):
        return None
    # What no job can ever reach would be refused with all that it is asked for together with.
    return found if 1 <= found.version <= _LAST_VERSION else None
