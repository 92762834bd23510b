"""The HTTP API as a user's script would call it: JSON in, JSON out, page after page."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ledger.cli_output import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 60.0
"""Seconds for which an API that does not answer is asked again: it may be on its way back."""


class Web:
    """The API behind a URL. Only reads, so asking again is always safe."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **query: Any) -> Any:
        return self._answer(path, query)[0]

    def pages(self, path: str, **query: Any) -> Iterator[Any]:
        """Yield every item of a list, following the cursor from page to page."""
        cursor: str | None = None
        while True:
            items, cursor = self._answer(path, query | ({"cursor": cursor} if cursor else {}))
            yield from items
            if cursor is None:
                return

    def _answer(self, path: str, query: dict[str, Any]) -> tuple[Any, str | None]:
        url = f"{self.url}/api/v1{path}{'?' if query else ''}{urlencode(query)}"
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(url, timeout=30) as answer:
                    return json.load(answer), answer.headers.get("Next-Cursor")
            except urllib.error.HTTPError as error:
                if error.code != 503 or time.monotonic() > deadline:
                    raise Failure(f"GET {url} answered {error.code}: {error.read().decode()}") from error
            except OSError as error:
                if time.monotonic() > deadline:
                    raise Failure(f"GET {url}: {error}") from error
            threading.Event().wait(0.3)
