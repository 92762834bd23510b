"""Payloads of older shapes, lifted step by step to the one the handler knows.

The log is never changed, so a job keeps the payload version it was made with; it is lifted each time it is run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from ledger.outcomes import Permanent

Upcast = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes a payload of one version and returns the same as the next version has it."""


class Upcasts:
    """The steps from older payload versions to `version`."""

    def __init__(self, type_: str, version: int) -> None:
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise ValueError(f"{type_}: version {version!r} is not a whole number from 1 up")
        self.version = version
        self._type = type_
        self._steps: dict[int, Upcast] = {}

    def add(self, from_version: int, step: Upcast) -> None:
        """Take the function that lifts a payload from this version to the next."""
        if not 1 <= from_version < self.version:
            raise ValueError(f"{self._type}: there is no version {from_version} before version {self.version}")
        if from_version in self._steps:
            raise ValueError(f"{self._type}: version {from_version} has its upcast already")
        self._steps[from_version] = step

    def lift(self, body: bytes, version: int) -> bytes:
        """Return the payload as the newest version has it; raise Permanent where a step is missing."""
        if version >= self.version:
            return body
        payload = orjson.loads(body)
        for number in range(version, self.version):
            step = self._steps.get(number)
            if step is None:
                raise Permanent(f"{self._type} has no upcast from payload version {number} to {number + 1}")
            payload = step(payload)
        return orjson.dumps(payload)
