"""One request and its answer, as the application wants the one and HTTP the other.

gunicorn's own way serves any application. Ours has all of an answer in memory and says its length (Falcon does, for
whatever is no stream), so head and body leave in one piece, and what the head is made of is looked at once.
"""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gunicorn import SERVER
from gunicorn.http import wsgi
from gunicorn.util import unquote_to_wsgi_str

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from gunicorn.config import Config

_UNSPEAKABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""In a header it would end it, and begin another."""


class Environ:
    """Makes the application's view of a request."""

    def __init__(self, config: Config) -> None:
        self._common: dict[str, Any] = {**wsgi.base_environ(config), "wsgi.multithread": True, "SCRIPT_NAME": ""}

    def of(self, request: Any, client: tuple[str, int], server: tuple[str, int]) -> dict[str, Any]:
        environ = self._common | {
            "wsgi.input": request.body,
            "wsgi.url_scheme": request.scheme,
            "REQUEST_METHOD": request.method,
            "PATH_INFO": unquote_to_wsgi_str(request.path),
            "QUERY_STRING": request.query,
            "RAW_URI": request.uri,
            "SERVER_PROTOCOL": f"HTTP/{request.version[0]}.{request.version[1]}",
            "REMOTE_ADDR": client[0],
            "REMOTE_PORT": str(client[1]),
            "SERVER_NAME": server[0],
            "SERVER_PORT": str(server[1]),
        }
        for name, value in request.headers:
            key = name.replace("-", "_")
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                key = f"HTTP_{key}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        return environ


class Answer:
    """What the application answers to a request."""

    def __init__(self, request: Any, *, stays: bool) -> None:
        self.stays = stays and not request.should_close()
        """The connection is kept."""
        self.status = ""
        self._headers: list[tuple[str, str]] = []

    def start(self, status: str, headers: list[tuple[str, str]], _: object = None) -> None:
        """Take what stands before the body; the application calls it."""
        self.status, self._headers = status, headers

    def send(self, sock: socket.socket, body: Iterable[bytes]) -> None:
        sock.sendall(b"".join((self._head(), *body)))

    def _head(self) -> bytes:
        lines = [f"{name}: {value}" for name, value in self._headers]
        if _UNSPEAKABLE.search("\t".join(lines)):
            raise ValueError("a header holds a control character")
        kept = "keep-alive" if self.stays else "close"
        first = (
            f"HTTP/1.1 {self.status}\r\nServer: {SERVER}\r\nDate: {_date(int(time.monotonic()))}\r\nConnection: {kept}"
        )
        return "\r\n".join((first, *lines, "", "")).encode("latin-1")


@lru_cache(1)
def _date(_: int) -> str:
    """Return the date, spelled once a second."""
    return formatdate(usegmt=True)
