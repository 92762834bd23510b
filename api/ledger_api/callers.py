"""Who sends a request, and what they may do: put into the request's context once it is let in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.settings import SCOPES

if TYPE_CHECKING:
    import falcon


@dataclass(frozen=True, slots=True)
class Caller:
    """The name of a key and its scope. Without a name it is anybody: the server asks nobody for a key."""

    name: str | None
    scope: str

    @property
    def actor(self) -> str:
        """How events name who made them."""
        return f"api:{self.name or 'anonymous'}"

    def may(self, scope: str) -> bool:
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


ANYBODY = Caller(None, "admin")


def is_known(req: falcon.Request) -> bool:
    """Say whether the request was let in as somebody's: not so where the route asks nobody, or there is none."""
    return "caller" in req.context


def caller(req: falcon.Request) -> Caller:
    return req.context.caller


def actor(req: falcon.Request) -> str:
    """Return the actor of the events that this request makes."""
    return caller(req).actor
