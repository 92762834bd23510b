"""`/openapi.json` and `/openapi.yaml`: the same document in two spellings, made once and known by its digest."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import falcon
import orjson
from msgspec import Meta

from ledger_api.openapi.document import document
from ledger_api.openapi.operation import JSON, Answer, Header, Parameter, operation
from ledger_api.parameters import Parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

YAML = "application/x-yaml"

_ETAG = Header("ETag", Annotated[str, Meta(pattern='^"[0-9a-f]{16}"$')], "A digest of the document.")
_KNOWN = Parameter("If-None-Match", str, "Answer 304 where the document is still this one.", "header")


class Description:
    """The document of these routes, put together when it is first asked for."""

    def __init__(self, routes: Mapping[str, Any]) -> None:
        self._routes = routes

    @cached_property
    def json(self) -> bytes:
        return orjson.dumps(document(self._routes))

    @cached_property
    def yaml(self) -> bytes:
        import yaml  # noqa: PLC0415 — few ask for it

        # Read back first: what two places share in memory would come out as anchors.
        return yaml.safe_dump(orjson.loads(self.json), sort_keys=False, allow_unicode=True, width=120).encode()

    @cached_property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.json).hexdigest()[:16]}"'

    def send(self, req: falcon.Request, resp: falcon.Response, media_type: str) -> None:
        Parameters(req).end()
        resp.set_header("ETag", self.etag)
        known = req.get_header("If-None-Match") or ""
        if known.strip() == "*" or self.etag in known:
            resp.status = falcon.HTTP_304
            return
        resp.content_type = media_type
        resp.data = self.json if media_type == JSON else self.yaml


class AsJson:
    """`/openapi.json`."""

    def __init__(self, description: Description) -> None:
        self._description = description

    @operation(
        "getOpenApiJson",
        "This document as JSON.",
        tag="description",
        parameters=(_KNOWN,),
        answers={200: Answer(dict[str, Any], "An OpenAPI 3.1 document.", (_ETAG,))},
        problems=("invalid_parameter",),
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        self._description.send(req, resp, JSON)


class AsYaml:
    """`/openapi.yaml`."""

    def __init__(self, description: Description) -> None:
        self._description = description

    @operation(
        "getOpenApiYaml",
        "This document as YAML.",
        tag="description",
        parameters=(_KNOWN,),
        answers={200: Answer(dict[str, Any], "An OpenAPI 3.1 document.", (_ETAG,), YAML)},
        problems=("invalid_parameter",),
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        self._description.send(req, resp, YAML)
