"""Answers of the read door: lists with `Link` and `Next-Cursor` to the next page, and the lag of what they show."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from ledger.resources import dumps

if TYPE_CHECKING:
    from collections.abc import Iterable

    import falcon
    from ledger_projections.queries import Queries

LAG_AGE = 0.2
"""Seconds for which a process believes the lag it has measured."""


class Lag:
    """How far the read models are behind, measured at most every `LAG_AGE` seconds; safe to share by threads."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._lock = threading.Lock()
        self._measured: dict[str, float] = {}
        self._at: float | None = None

    def seconds(self, projection: str) -> float:
        """Return how late it is at most: what was measured, and the time that has passed since."""
        with self._lock:
            now = time.monotonic()
            if self._at is None or now - self._at > LAG_AGE:
                self._measured = {name: lag.seconds for name, lag in self._queries.lag().items()}
                self._at = now
            return self._measured.get(projection, 0.0) + now - self._at

    def tell(self, resp: falcon.Response, *projections: str) -> None:
        """Say in the response how late the read models are that it shows: as late as the latest of them."""
        resp.set_header("Ledger-Lag-Seconds", f"{max(map(self.seconds, projections)):.3f}")


def send_page(req: falcon.Request, resp: falcon.Response, items: Iterable[Any], next_cursor: str | None) -> None:
    """Answer with a JSON array and, unless it is the last page, where the next one is."""
    if next_cursor is not None:
        parameters = {name: value for name, value in req.params.items() if name not in ("cursor", "offset")}
        query = urlencode({**parameters, "cursor": next_cursor}, doseq=True, safe=",:")
        resp.set_header("Link", f'<{quote(req.root_path + req.path)}?{query}>; rel="next"')
        resp.set_header("Next-Cursor", next_cursor)
    resp.data = dumps(list(items))
