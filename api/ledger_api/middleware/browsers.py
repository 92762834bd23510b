"""Protection from web pages of others, which can make a browser send requests here with the user's own rights.

An unsafe method that a browser sends must come from a page of this server; a call with a bearer token cannot have been
made by a page without knowing it. While the server trusts everybody on this machine, a host name that is not the
machine's own means that a foreign page has had its name resolved to it. A request with none of these headers comes from
no browser. What asks for no key is open to all.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ledger_api import scopes
from ledger_api.callers import caller, is_known
from ledger_api.problems import Problem

if TYPE_CHECKING:
    import falcon


@lru_cache(64)
def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches this name or address."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class BrowserGuard:
    def __init__(self, api_host: str) -> None:
        self._on_loopback = is_loopback(api_host)

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, params: dict[str, object]
    ) -> None:
        del resp, resource, params
        if not is_known(req):
            return
        host = req.get_header("Host")
        if self._on_loopback and caller(req).name is None and host is not None and not is_loopback(_name(host)):
            raise Problem("forbidden", f"without keys this server answers to localhost only, not to {host}")
        if req.method not in scopes.SAFE and _is_cross_site(req, host):
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
