"""The API's description held against its answers: nothing undocumented may come, and nothing documented be missing.

Clients are told to ignore members they do not know; here they may not be there: every schema is closed.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import orjson
import yaml
from ledger_api.openapi.document import METHODS, published_path

if TYPE_CHECKING:
    import falcon
    from falcon import testing

    Json = dict[str, Any]

UNSAID = frozenset({"content-type", "content-length", "vary", "cache-control"})
"""Headers of HTTP itself."""


def description(app: falcon.App) -> Json:
    """Return the document as this application serves it, without asking it for it."""
    resource, *_ = app._router.find("/api/v1/openapi.json")
    return orjson.loads(resource._description.json)


def routes(app: falcon.App) -> set[tuple[str, str]]:
    """Return every (method, path) that the application answers, as the description writes them."""
    found: set[tuple[str, str]] = set()
    nodes = list(app._router._roots)
    while nodes:
        node = nodes.pop()
        nodes += node.children
        if node.resource is not None:
            methods = (method for method in METHODS if hasattr(node.resource, f"on_{method}"))
            found |= {(method, published_path(node.uri_template)) for method in methods}
    return found


def described(document: Json) -> dict[tuple[str, str], Json]:
    """Return the operations of the description by (method, path)."""
    return {(method, path): operation for path, item in document["paths"].items() for method, operation in item.items()}


class Contract:
    """One description."""

    def __init__(self, document: Json) -> None:
        self.document = document
        self.seen: set[str] = set()
        """Ids of the operations that have answered with success."""
        self._components = document["components"] | {
            "schemas": {name: _closed(schema) for name, schema in document["components"]["schemas"].items()}
        }
        self._paths = sorted(document["paths"], key=lambda path: path.count("{"))

    def breaches(self, method: str, path: str, result: testing.Result) -> list[str]:
        """Return in what the answer differs from its description; what has none is another test's."""
        template = self._template(path)
        response = self._response(method, template, result.status_code)
        if isinstance(response, str):
            return [response]
        if response is None:
            return []
        return [*self._wrong_headers(response, result), *self._wrong_body(method, response, result)]

    def _template(self, path: str) -> str | None:
        return next((each for each in self._paths if _pattern(each).fullmatch(path)), None)

    def _response(self, method: str, template: str | None, status: int) -> Json | str | None:
        """Return what is said of such an answer; a text where it may not be, None where the route is not described."""
        item = self.document["paths"].get(template, {})
        operation = item.get("get" if method == "HEAD" else method.lower())
        if operation is None:
            code = {404: "NotFound", 405: "MethodNotAllowed"}.get(status)
            return self._components["responses"][code] if code else None
        if status < 400:
            self.seen.add(operation["operationId"])
        response = operation["responses"].get(str(status))
        if response is None:
            return f"status {status} is not described"
        return self._resolved(response)

    def _resolved(self, response: Json) -> Json:
        if "$ref" in response:
            return self._components["responses"][response["$ref"].rpartition("/")[2]]
        return response

    def _wrong_headers(self, response: Json, result: testing.Result) -> list[str]:
        told = {name.lower(): header for name, header in response.get("headers", {}).items()}
        given = {name.lower(): value for name, value in result.headers.items() if name.lower() not in UNSAID}
        wrong = [f"header {name} is not described" for name in given.keys() - told.keys()]
        wrong += [f"header {name} is missing" for name in told.keys() - given.keys() if told[name]["required"]]
        for name in told.keys() & given.keys():
            kind = told[name]["schema"].get("type")
            value: Any = float(given[name]) if kind in ("number", "integer") else given[name]
            wrong += [f"header {name}: {error}" for error in self._errors(told[name]["schema"], value)]
        return wrong

    def _wrong_body(self, method: str, response: Json, result: testing.Result) -> list[str]:
        content = response.get("content")
        if content is None or method == "HEAD":
            return ["a body is not described"] if result.content else []
        media_type = result.headers["Content-Type"].partition(";")[0]
        if media_type not in content:
            return [f"media type {media_type} is not described"]
        return self._errors(content[media_type]["schema"], _value(media_type, result))

    def _errors(self, schema: Json, value: Any) -> list[str]:
        validator = self._validators(orjson.dumps(schema))
        return [f"{list(error.instance_path)}: {error.message}"[:500] for error in validator.iter_errors(value)]

    def _validators(self, schema: bytes) -> jsonschema_rs.Draft202012Validator:
        return _validator(schema, orjson.dumps(self._components))


def _value(media_type: str, result: testing.Result) -> Any:
    if media_type.endswith("json"):
        return result.json
    return yaml.safe_load(result.content) if media_type.endswith("yaml") else result.text


@cache
def _validator(schema: bytes, components: bytes) -> jsonschema_rs.Draft202012Validator:
    whole = orjson.loads(schema) | {"components": orjson.loads(components)}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)))


def _closed(schema: Json) -> Json:
    return schema | {"additionalProperties": False} if "properties" in schema else schema
