"""Calls of tools as requests to the API's own application, in this process: no port, the same answers."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import orjson

from ledger import ids
from ledger.errors import LedgerError
from ledger_api.health import UNAVAILABLE, UNKNOWN
from ledger_api.mcp.arguments import Place, check, spelled
from ledger_api.problems import Problem, of_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ledger_api.mcp.tools import Tool

LARGEST_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    text: str
    next_cursor: str | None = None

    @property
    def is_refusal(self) -> bool:
        return self.status >= 400


class Calls:
    """Answers calls of tools; safe to share by threads."""

    def __init__(self, app: Callable[[dict[str, Any], Any], Iterable[bytes]]) -> None:
        self._app = app

    def answer(self, tool: Tool, arguments: Mapping[str, Any]) -> Answer:
        """Do what the tool says; whatever goes wrong is an answer too."""
        try:
            check(arguments, tool.arguments)
            answer = self._answer(tool, arguments)
        except LedgerError as error:
            answer = refusal(tool.name, of_error(error))
        except Exception as error:  # noqa: BLE001 — a bug ends one call, not the server
            bug = LedgerError(f"a bug in calling {tool.name}")
            bug.__cause__ = error
            answer = refusal(tool.name, of_error(bug))
        return _health(answer) if tool.name == "health_check" and answer.status in (200, 503) else answer

    def _answer(self, tool: Tool, arguments: Mapping[str, Any]) -> Answer:
        parameters = {name: spelled(arguments[name]) for name in tool.names(Place.QUERY) if name in arguments}
        if not tool.all_pages:
            return self._request(tool, arguments, parameters)
        items: list[str] = []
        parameters["limit"] = str(LARGEST_PAGE)
        while True:
            answer = self._request(tool, arguments, parameters)
            if answer.is_refusal:
                return answer
            items.append(answer.text[1:-1])
            if answer.next_cursor is None:
                return Answer(answer.status, f"[{','.join(filter(None, items))}]")
            parameters["cursor"] = answer.next_cursor

    def _request(self, tool: Tool, arguments: Mapping[str, Any], parameters: Mapping[str, str]) -> Answer:
        # Escaped even where the application, which takes paths as they come, does not undo it: then it names nothing.
        named = {sent: quote(arguments[name], safe=":") for name, sent in tool.names(Place.PATH).items()}
        members = {name: arguments[name] for name in tool.names(Place.BODY) if name in arguments}
        body = json.dumps({**tool.defaults, **members}).encode() if tool.has_body else b""
        return self._send(_environment(tool.method, tool.path.format_map(named), parameters, body))

    def _send(self, environment: dict[str, Any]) -> Answer:
        status = 0
        headers: dict[str, str] = {}

        def start_response(line: str, given: list[tuple[str, str]], _: Any = None) -> None:
            nonlocal status
            status = int(line.split(maxsplit=1)[0])
            headers.update({name.lower(): value for name, value in given})

        body = b"".join(self._app(environment, start_response))
        return Answer(status, body.decode(), headers.get("next-cursor"))


def refusal(tool: str, problem: Problem) -> Answer:
    """Return the answer to a call that never became a request."""
    resource = problem.resource(f"/tools/{tool}", ids.mint().hex)
    return Answer(problem.status, orjson.dumps(resource, default=str).decode())


def _environment(method: str, path: str, parameters: Mapping[str, str], body: bytes) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": urlencode(parameters),
        "CONTENT_TYPE": "application/json" if body else "",
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "0",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def _health(answer: Answer) -> Answer:
    """Turn what the probe says into the tool's own words: being unhealthy is an answer, not a failure."""
    found = orjson.loads(answer.text)
    nothing = {"postgres": UNAVAILABLE, "migrations": UNKNOWN, "redis": UNAVAILABLE}
    status = "unhealthy" if answer.is_refusal else "ok"
    return Answer(200, orjson.dumps({"status": status, "checks": found.get("checks", nothing)}).decode())
