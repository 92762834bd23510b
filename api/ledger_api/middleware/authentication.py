"""The door: who sends the request (401), and whether their key reaches far enough for this route (403).

It comes after routing, so that what does not exist is told first, to everybody. A request that is let in has its caller
in its context; one for a route that asks for no key has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger_api import scopes
from ledger_api.problems import Problem

if TYPE_CHECKING:
    import falcon

    from ledger_api.auth import Keyring

BASIC = 'Basic realm="ledger", charset="UTF-8"'
CHALLENGE = f'Bearer realm="ledger", {BASIC}'
HOW = "send `Authorization: Bearer <secret>`, or Basic with the name of the key and its secret"


class Authentication:
    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, params: dict[str, object]
    ) -> None:
        del resp, params
        if getattr(resource, f"on_{req.method.lower()}", None) is None:
            return  # what does not exist is told first
        scope = scopes.needed(req.method, req.uri_template or "")
        if scope is None:
            return
        caller = self._keyring.identify(req.auth)
        if caller is None:
            raise _unauthorized(req)
        if not caller.may(scope):
            raise Problem("forbidden", f"this needs a key with scope {scope}; {caller.name!r} has {caller.scope} only")
        req.context.caller = caller


def _unauthorized(req: falcon.Request) -> Problem:
    detail = f"a key is needed: {HOW}" if req.auth is None else f"this is no valid key, or no longer one; {HOW}"
    # Browsers look at the first challenge only, and ask their user nothing but Basic.
    challenge = CHALLENGE if req.path.startswith("/api/") else BASIC
    return Problem("unauthorized", detail, headers={"WWW-Authenticate": challenge})
