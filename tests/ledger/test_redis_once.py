"""A command whose answer was lost is not sent again behind anybody's back: of XADD that would be a second message."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ledger import keys
from ledger.errors import Unavailable
from ledger.events import Priority
from ledger.runtime.redis import Line, connect, reachable

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAM = keys.stream("mail", Priority.MEDIUM)


@contextmanager
def losing_answers(url: str, to: bytes) -> Iterator[str]:
    """A way to this Redis on which the answer to such a command never arrives: the connection ends instead."""
    target = (urlsplit(url).hostname or "", urlsplit(url).port or 0)
    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=_serve, args=(door, target, to), daemon=True).start()
        yield urlsplit(url)._replace(netloc=f"127.0.0.1:{door.getsockname()[1]}").geturl()
        with suppress(OSError):
            door.shutdown(socket.SHUT_RDWR)


def _serve(door: socket.socket, target: tuple[str, int], to: bytes) -> None:
    with suppress(OSError):
        while True:
            client, _ = door.accept()
            threading.Thread(target=_pass, args=(client, socket.create_connection(target), to), daemon=True).start()


def _pass(client: socket.socket, server: socket.socket, to: bytes) -> None:
    """Questions and answers in turn, as a client without pipelines has them."""
    with client, server, suppress(OSError):
        while question := client.recv(65536):
            server.sendall(question)
            answer = server.recv(65536)
            if to in question:
                return
            client.sendall(answer)


def test_d20_a_command_whose_answer_was_lost_is_sent_once(redis_url: str) -> None:
    with losing_answers(redis_url, to=b"XADD") as way, connect(way) as client:
        assert client.ping()
        with pytest.raises(Unavailable), reachable(client):
            client.xadd(STREAM, {"job": "x"})
        assert client.ping()
    with redis.Redis.from_url(redis_url) as direct:
        assert direct.xlen(STREAM) == 1


def test_d20_the_way_loses_what_it_should(redis_url: str) -> None:
    """The driver as it comes does send it again."""
    twice_more = Retry(NoBackoff(), 2)
    with (
        losing_answers(redis_url, to=b"XADD") as way,
        redis.Redis.from_url(way, retry=twice_more) as client,
        pytest.raises(redis.ConnectionError),
    ):
        client.xadd(STREAM, {"job": "x"})
    with redis.Redis.from_url(redis_url) as direct:
        assert direct.xlen(STREAM) == 3


def test_a_line_that_redis_has_ended_while_nobody_used_it_is_made_anew(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.runtime.redis.LONG_UNUSED", 0.0)
    with connect(redis_url) as client, Line(client) as line:
        for _ in range(3):
            assert line.call("ECHO", "here") == b"here"
            assert client.client_kill_filter(_id=str(line.call("CLIENT", "ID"))) == 1
        assert line.call("ECHO", "again") == b"again"
