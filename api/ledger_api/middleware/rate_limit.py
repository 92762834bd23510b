"""`API_RATE_LIMIT`: requests a second for each key, or for each address where nobody needs one, in this process.

A token bucket each: a second's worth may come at once. Buckets of those longest silent are dropped, so memory is
bounded; who is forgotten after a second of silence loses nothing, for that bucket is full again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from ledger_api.callers import caller, is_known
from ledger_api.problems import RETRY_AFTER, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    import falcon

MOST_BUCKETS = 10_000


class RateLimit:
    def __init__(self, per_second: int, *, now: Callable[[], float] = time.monotonic) -> None:
        self._buckets = Buckets(per_second, now)
        self._per_second = per_second

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, params: dict[str, object]
    ) -> None:
        del resp, resource, params
        if not is_known(req):
            return
        name = caller(req).name
        if not self._buckets.take(("address", req.remote_addr) if name is None else ("key", name)):
            # With one request a second or more allowed, a second is always long enough.
            raise Problem("rate_limited", f"at most {self._per_second} requests a second", headers=RETRY_AFTER)


class Buckets:
    """How many requests each caller has left, and when that was so."""

    def __init__(self, per_second: int, now: Callable[[], float], most: int = MOST_BUCKETS) -> None:
        self._per_second, self._now, self._most = per_second, now, most
        self._lock = threading.Lock()
        self._left: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def take(self, whose: tuple[str, str]) -> bool:
        with self._lock:
            now = self._now()
            left, at = self._left.get(whose, (float(self._per_second), now))
            left = min(float(self._per_second), left + (now - at) * self._per_second)
            allowed = left >= 1
            self._left[whose] = (left - 1 if allowed else left, now)
            self._left.move_to_end(whose)
            if len(self._left) > self._most:
                self._left.popitem(last=False)
            return allowed
