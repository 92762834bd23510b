"""A client's connection, and the requests that come on it.

What has come is kept until it is a whole request, so who takes their time to send one holds no thread. A plain request,
as nearly all are, is read at a glance; what is out of the ordinary (a body in chunks, a large one, `Expect`, another
version, a head that is none) is left to gunicorn, which reads it, or says what is wrong with it.
"""

from __future__ import annotations

import re
import socket
import struct
import time
from datetime import timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from gunicorn.http.errors import LimitRequestHeaders, ParseException
from gunicorn.http.message import Request
from gunicorn.http.unreader import SocketUnreader

from ledger.runtime import deadline

if TYPE_CHECKING:
    from gunicorn.config import Config

_PART = 64 * 1024
"""Bytes taken at a time, and of a request that are waited for without a thread."""
_LARGEST_HEAD = 8190
"""Bytes in which a plain request has its head: gunicorn allows as much for each line, and that is looked at there."""
_PATIENCE = 5.0
"""Seconds for which a thread waits for one part of a large body, or for room for a part of an answer."""
_FAREWELL = 2.0
"""Seconds for which a client may go on sending after the last answer."""
_LEFT_OVER = 32 * 1024 * 1024
"""Bytes that are taken of a refused body: twice the largest that is allowed."""
_TIMEVAL = struct.pack("@ll", int(_PATIENCE), 0)

_PLAIN = re.compile(
    r"(GET|HEAD|POST|PUT|PATCH|DELETE) ((/[!-\"$->@-~]*)(?:\?([!-\"$-~]*))?) HTTP/1\.1\r\n"
    r"((?:[A-Za-z0-9-]+:[\t -~]*\r\n){0,100})"
)
_FIELD = re.compile(r"([^:]+):([^\r]*)\r\n")
_UNUSUAL = frozenset({"EXPECT", "TRANSFER-ENCODING"})
_LONGEST_NUMBER = 8
"""Digits of the length of a body that is worth waiting for."""


class Plain:
    """A request as it is all but always: a line, some headers and a body that is here. Looks like gunicorn's."""

    scheme: Final = "http"
    version: Final = (1, 1)
    _expected_100_continue: Final = False

    def __init__(self, parts: tuple[str, str, str, str], fields: dict[str, str], body: bytes) -> None:
        self.method, self.uri, self.path, self.query = parts
        self.headers = fields.items()
        self.body = BytesIO(body)

    def should_close(self) -> bool:
        return False


class _Unusual(Request):
    def _peer_trusted_for_forwarded(self) -> tuple[dict[str, str], list[str]]:
        """Trust nobody to say in headers what the request itself does not: nothing here depends on it."""
        return {}, []


class _Unreader(SocketUnreader):
    def chunk(self, size_hint: int | None = None) -> bytes:
        if deadline.remaining() == 0:
            raise TimeoutError("the request takes too long to arrive")
        return super().chunk(size_hint)  # pyright: ignore[reportCallIssue] — the types are of an older release


class Connection:
    def __init__(self, config: Config, sock: socket.socket, client: Any, server: Any) -> None:
        sock.setblocking(True)
        # Limits of the kernel's: Python's own would cost a call of poll for each part that is sent or received.
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL)
        self.sock, self.client, self.server = sock, client, server
        self._config = config
        self._keepalive = config.keepalive
        self._heard = b""
        self._is_over = False
        """One side has ended, and nothing that comes is listened to."""
        self.ends_at = time.monotonic() + self._keepalive
        """When to hang up: no request began for so long, or one that did is not whole yet."""

    def hear(self) -> bool:
        """Take what has come; return whether the client is there."""
        if not self._heard and not self._is_over:
            self.ends_at = time.monotonic() + self._keepalive
        try:
            part = self.sock.recv(_PART, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        if not part:
            self._is_over = True
        elif not self._is_over:
            self._heard += part
        return bool(part)

    def request(self) -> Any:
        """Return the next request that has come, None while there is none. Raises ParseException for what is none."""
        heard = self._heard
        if not heard:
            return None
        end = heard.find(b"\r\n\r\n") + 4
        if end < 4:
            if len(heard) > _PART:
                raise LimitRequestHeaders("the head does not end")
            if heard.count(b"\n") == heard.count(b"\r\n"):
                return None
        elif end <= _LARGEST_HEAD and (found := _plain(heard[: end - 2].decode("latin-1"))) is not None:
            parts, fields = found
            whole = end + int(fields.get("CONTENT-LENGTH", 0))
            if len(heard) >= whole:
                self._heard = heard[whole:]
                return Plain(parts, fields, heard[end:whole])
            if whole <= _PART:
                return None
        self._heard = b""
        rest = _Unreader(self.sock)
        rest.unread(heard)
        return _Unusual(self._config, rest, self.client)

    def finish(self, request: Any) -> bool:
        """Return whether the body has ended, and another request may come; take what is left of one that nobody read.

        A client that is still sending when we hang up sees a broken connection instead of the answer.
        """
        self.ends_at = time.monotonic() + self._keepalive
        if isinstance(request, Plain):
            return True
        deadline.start(timedelta(seconds=_PATIENCE))
        left = _LEFT_OVER
        try:
            while left > 0 and (part := request.body.read(_PART)):
                left -= len(part)
        except (OSError, ParseException):  # too slow, gone, or chunks that are none
            return False
        finally:
            deadline.clear()
        self._heard = request.unreader.take_buffered()
        return left > 0 and not request.body.failed

    def take_leave(self) -> bool:
        """Say no more; return whether the client may still be sending: who hangs up before that is over takes the
        answer back.
        """
        if self._is_over:
            return False
        self._is_over, self._heard = True, b""
        self.ends_at = time.monotonic() + _FAREWELL
        self.sock.shutdown(socket.SHUT_WR)
        return True


def _plain(head: str) -> tuple[tuple[str, str, str, str], dict[str, str]] | None:
    """Return method, target, path and query, and the headers; None where a closer look is needed."""
    found = _PLAIN.fullmatch(head)
    if found is None:
        return None
    method, uri, path, query, lines = found.groups("")
    named = _FIELD.findall(lines)
    fields = {name.upper(): value.strip() for name, value in named}
    if len(fields) < len(named) or not fields.keys().isdisjoint(_UNUSUAL):
        return None
    if fields.get("CONNECTION", "keep-alive").lower() != "keep-alive":
        return None
    length = fields.get("CONTENT-LENGTH", "0")
    if not length.isdecimal() or len(length) > _LONGEST_NUMBER:
        return None
    return (method, uri, path, query), fields
