"""Protection from web pages of others, which can make a browser send requests here with the user's own rights.

An unsafe method that a browser sends must come from a page of this server; a call with a bearer token cannot have been
made by a page without knowing it. While the server trusts everybody on this machine, a host name that is not the
machine's own means that a foreign page has had its name resolved to it. A request with none of these headers comes from
no browser. Probes and metrics are open to all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ledger_api.problems import Problem

if TYPE_CHECKING:
    import falcon

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class BrowserGuard:
    def __init__(self, api_host: str) -> None:
        self._loopback_only = api_host in LOOPBACK

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, params: dict[str, object]
    ) -> None:
        del resp, params
        if not req.path.startswith("/api/") or getattr(resource, f"on_{req.method.lower()}", None) is None:
            return  # what does not exist is told first
        host = req.get_header("Host")
        if self._loopback_only and host is not None and _name(host) not in LOOPBACK:
            raise Problem("forbidden", f"this server answers to localhost only, not to {host}")
        if req.method not in _SAFE and _is_cross_site(req, host):
            raise Problem("forbidden", "a page of another site may not send this request")


def _is_cross_site(req: falcon.Request, host: str | None) -> bool:
    if (req.auth or "").lower().startswith("bearer "):
        return False
    site = req.get_header("Sec-Fetch-Site")
    if site is not None:
        return site != "same-origin"
    origin = req.get_header("Origin")
    return origin is not None and urlsplit(origin).netloc != host


def _name(host: str) -> str:
    """Return a Host header without its port, and an IPv6 address without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
