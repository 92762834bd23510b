"""The servers that `ledger dev` has of its own: started where the settings name none, and again when they die.

Services wait for a server that has gone, and what it had acknowledged is in its data: so nothing is lost but a moment.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from math import inf
from typing import TYPE_CHECKING

from ledger.cli_output import Installation
from ledger.errors import Unavailable
from ledger.runtime.embedded import EmbeddedPostgres, EmbeddedRedis

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from ledger.runtime.embedded import Embedded
    from ledger.settings import Settings

    Tell = Callable[[str], None]

STEADY = 10.0
"""Seconds that a server must have been up again before another start is worth while."""


class Servers:
    """What is running here, and who looks after those of our own."""

    def __init__(self, installation: Installation, own: list[Embedded], tell: Tell) -> None:
        self.installation = installation
        self._own, self._tell = own, tell
        self._began_again: dict[str, float] = {}

    def tend(self) -> str | None:
        """Start again what has ended; say in words what is gone for good."""
        for server in self._own:
            if (fall := server.fall) is None:
                continue
            if time.monotonic() < self._began_again.get(server.title, -inf) + STEADY:
                return f"{fall}, right after it was started again; its log is {server.log}"
            self._tell(f"{fall}; it is started again on the same data")
            try:
                server.start()
            except Unavailable as error:
                return f"{fall} and cannot be started again: {error}"
            self._began_again[server.title] = time.monotonic()
            self._tell(f"{server.title} is up again")
        return None


@contextmanager
def open_servers(settings: Settings, directory: Path, tell: Tell) -> Generator[Servers]:
    """Give the servers the settings name, and embedded ones in `directory` for those they do not."""
    with ExitStack() as stack:
        if not (settings.database_url and settings.redis_url):
            directory.mkdir(parents=True, exist_ok=True)
            (directory / ".gitignore").write_text("*\n")
            tell(f"starting embedded servers in {directory}/")
        urls: list[str] = []
        own: list[Embedded] = []
        for given, kind in ((settings.database_url, EmbeddedPostgres), (settings.redis_url, EmbeddedRedis)):
            if given:
                urls.append(given)
                continue
            server = kind(directory)
            stack.callback(server.stop)
            urls.append(server.start())
            own.append(server)
            tell(f"{server.title} {server.server.version} is up")
        yield Servers(Installation(settings, urls[0], urls[1]), own, tell)
