"""The API's application as this process uses it: whoever started the server is its only caller.

It is built when it is first asked, and again at every request until that succeeds, so a server that is not there is an
answer and not the end. Keys and rate limits are for requests from outside: here one key is made up, and never leaves.
"""

from __future__ import annotations

import dataclasses
import secrets
import threading
from typing import TYPE_CHECKING, Any

from ledger.cli_output import actor, connect
from ledger.settings import ApiKey, digest
from ledger_api.callers import Caller
from ledger_api.cli import application

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import falcon


class User(Caller):
    """The user on whose machine the assistant works: may do everything, and is recorded as `mcp:<user>`."""

    @property
    def actor(self) -> str:
        return f"mcp:{self.name}"


class Introduction:
    """Says who asks, after everything that judges requests from outside."""

    def __init__(self, user: User) -> None:
        self._user = user

    def process_resource(self, req: falcon.Request, *_: Any) -> None:
        req.context.caller = self._user


class OwnApi:
    """The API for the user of this process, as a WSGI application; raises Unavailable where there are no servers."""

    def __init__(self) -> None:
        self._user = User(actor().partition(":")[2], "admin")
        self._secret = secrets.token_urlsafe()
        self._lock = threading.Lock()
        self._app: Any = None

    def __call__(self, environment: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            if self._app is None:
                self._app = self._build()
        return self._app({**environment, "HTTP_AUTHORIZATION": f"Bearer {self._secret}"}, start_response)

    def _build(self) -> Any:
        installation = connect(api_host="127.0.0.1")
        key = ApiKey("mcp", "admin", digest(self._secret.encode()))
        settings = dataclasses.replace(installation.settings, api_keys=(key,), api_rate_limit=None)
        app = application(dataclasses.replace(installation, settings=settings))
        app.add_middleware(Introduction(self._user))
        return app
