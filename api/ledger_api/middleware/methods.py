"""Methods nobody has heard of: refused like any other that a route does not have, with what it does have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import falcon

if TYPE_CHECKING:
    from collections.abc import Mapping

_KNOWN = frozenset(falcon.HTTP_METHODS)


class UnknownMethods:
    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, params: Mapping[str, object]
    ) -> None:
        del resp, params
        if req.method not in _KNOWN:
            raise falcon.HTTPMethodNotAllowed(sorted(m for m in _KNOWN if hasattr(resource, f"on_{m.lower()}")))
