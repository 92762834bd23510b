"""The API in this process, over a real database: requests as a client sends them, without a network between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from falcon import testing

from tests.support.contract import Contract, description

if TYPE_CHECKING:
    import falcon

BASE = "/api/v1"
NOBODY = "01980000-0000-7000-8000-00000000dead"
"""A well-formed id that no job has."""


class Api:
    """A client on this machine. Paths without a root word are under the base; answers are parsed by `json`.

    Every answer is held against the description of the API.
    """

    def __init__(self, app: falcon.App) -> None:
        self.app = app
        self.contract = Contract(description(app))
        self._client = testing.TestClient(app, headers={"Host": "127.0.0.1:8080"})

    def send(self, method: str, path: str, **options: Any) -> testing.Result:
        return self._send(method, BASE + path, **options)

    def probe(self, path: str, method: str = "GET") -> testing.Result:
        return self._send(method, path)

    def _send(self, method: str, path: str, **options: Any) -> testing.Result:
        result = self._client.simulate_request(method, path, **options)
        broken = self.contract.breaches(method, path.partition("?")[0], result)
        assert not broken, f"{method} {path} answers otherwise than it is described: {broken}"
        return result

    def get(self, path: str, **options: Any) -> testing.Result:
        return self.send("GET", path, **options)

    def delete(self, path: str, **options: Any) -> testing.Result:
        return self.send("DELETE", path, **options)

    def post(self, path: str, body: Any = None, *, headers: dict[str, str] | None = None) -> testing.Result:
        """Send a body as JSON; bytes as they are; nothing, and no media type, for None."""
        if body is None:
            return self.send("POST", path, headers=headers or {})
        text = body if isinstance(body, bytes) else orjson.dumps(body)
        return self.send("POST", path, body=text, headers={"Content-Type": "application/json"} | (headers or {}))


def problem(result: testing.Result, status: int, code: str) -> dict[str, Any]:
    """Return the problem that this answer must be, complete and of this kind."""
    assert result.status_code == status, result.text
    assert result.headers["Content-Type"] == "application/problem+json"
    found = result.json
    assert found["code"] == code, found
    assert found["type"] == f"urn:ledger:problem:{code}"
    assert found["status"] == status
    assert found["error"] == found["detail"]
    assert found["request_id"] == result.headers["X-Request-Id"]
    assert isinstance(found["title"], str)
    assert found["instance"].startswith("/")
    assert isinstance(found["errors"], list)
    return found


def wrong(found: dict[str, Any]) -> set[str]:
    """Return the pointers and parameters that a problem names."""
    return {each.get("pointer", each.get("parameter")) for each in found["errors"]}
