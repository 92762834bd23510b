"""The OpenAPI document: every route with what its responders say, and what follows for all of them.

The types of requests and answers become its schemas; nothing is described twice. A route without a description is left
out, and a test fails: it compares this document with the routes that the application has.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec

from ledger.fields import END
from ledger_api import scopes
from ledger_api.openapi import headers, refusals
from ledger_api.openapi.operation import Operation, operation_of
from ledger_api.openapi.prose import ABOUT, PATH_PARAMETERS, TAGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ledger_api.openapi.operation import Answer, Body, Header, Parameter

Json = dict[str, Any]
Schemas = dict[int, Json]
"""Type, by its identity, -> the schema of it."""

METHODS = ("get", "post", "put", "patch", "delete")
_REFERENCE = "#/components/schemas/{name}"
_FIELD = re.compile(r"\{(\w+)\}")
_OWN_ID = re.compile(r"/(\w+)s/\{\1_id\}")


def document(routes: Mapping[str, Any]) -> Json:
    """Return the description of these routes: path template -> resource."""
    described = list(_operations(routes))
    schemas, components = _schemas(operation for _, _, operation in described)
    paths: dict[str, Json] = {}
    responses: dict[str, Json] = {}
    for path, method, operation in described:
        published = published_path(path)
        scope = scopes.needed(method.upper(), path)
        writer = _Writer(published, operation, scope, schemas)
        paths.setdefault(published, {})[method] = writer.operation()
        responses |= refusals.components(writer.problems)
    found = {
        "openapi": "3.1.0",
        "info": {
            "title": "Ledger",
            "version": version("jobledger"),
            "summary": "Background jobs whose single source of truth is an append-only event log.",
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": responses,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The secret of a key."},
                "basic": {"type": "http", "scheme": "basic", "description": "Name and secret of a key."},
            },
        },
    }
    return _plain(found)


def published_path(template: str) -> str:
    """Return the path as the document writes it: the id of a collection's own items is `{id}`.

    >>> published_path("/jobs/{job_id}/events"), published_path("/dlq/{id_}"), published_path("/executions/{job_id}")
    ('/jobs/{id}/events', '/dlq/{id}', '/executions/{job_id}')
    """
    return _OWN_ID.sub(r"/\1s/{id}", template).replace("{id_}", "{id}")


def _operations(routes: Mapping[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    for path, resource in routes.items():
        for method in METHODS:
            operation = operation_of(getattr(resource, f"on_{method}", None))
            if operation is not None:
                yield path, method, operation


class _Writer:
    """Writes one operation."""

    def __init__(self, path: str, operation: Operation, scope: str | None, schemas: Schemas) -> None:
        self._path, self._operation, self._scope, self._schemas = path, operation, scope, schemas
        self._fields: list[str] = _FIELD.findall(path)
        self.problems = refusals.of(operation, scope, has_path_parameters=bool(self._fields))

    def operation(self) -> Json:
        told = self._operation
        found: Json = {
            "operationId": told.id.format(self._path.rpartition("/")[2].capitalize()),
            "summary": told.summary,
            "description": self._description(),
            "tags": [told.tag],
            "parameters": [*map(self._path_parameter, self._fields), *map(self._parameter, self._parameters())],
            "responses": self._responses(),
            "security": [] if self._scope is None else [{"bearer": [self._scope]}, {"basic": [self._scope]}],
        }
        if told.body is not None:
            found["requestBody"] = self._body(told.body)
        return found

    def _description(self) -> str:
        needs = "Needs no key." if self._scope is None else f"Needs a key with scope `{self._scope}`."
        return f"{self._operation.description}\n\n{needs}".strip()

    def _parameters(self) -> tuple[Parameter, ...]:
        return (*self._operation.parameters, headers.REQUEST_ID)

    def _path_parameter(self, name: str) -> Json:
        text, schema = PATH_PARAMETERS[name if name != "id" else self._path.split("/{id}")[0].rpartition("/")[2]]
        return {"name": name, "in": "path", "required": True, "description": text, "schema": schema}

    def _parameter(self, told: Parameter) -> Json:
        schema = self._schemas[id(told.type)]
        found: Json = {"name": told.name, "in": told.place, "required": told.is_required}
        found["description"] = told.description
        found["schema"] = schema if told.default is None else {**schema, "default": told.default}
        if told.is_list:
            found |= {"style": "form", "explode": False}
        return found

    def _body(self, body: Body) -> Json:
        content: Json = {"schema": self._schemas[id(body.type)]}
        if body.examples:
            content["examples"] = {name: {"value": value} for name, value in body.examples.items()}
        return {"required": not body.is_optional, "content": dict.fromkeys(body.media_types, content)}

    def _responses(self) -> Json:
        found = {str(status): self._answer(answer) for status, answer in self._operation.answers.items()}
        if headers.IF_NONE_MATCH.name in {parameter.name for parameter in self._operation.parameters}:
            found["304"] = {
                "description": "It is still at a version that the client has.",
                "headers": self._headers(self._operation.answers[200].headers),
            }
        return dict(sorted((found | refusals.references(self.problems)).items()))

    def _answer(self, answer: Answer) -> Json:
        found: Json = {"description": answer.description, "headers": self._headers(answer.headers)}
        if answer.type is not None:
            found["content"] = {answer.media_type: {"schema": self._schemas[id(answer.type)]}}
        return found

    def _headers(self, told: tuple[Header, ...]) -> Json:
        return {header.name: refusals.header(header) for header in (*told, headers.SENT_REQUEST_ID)}


def _schemas(operations: Iterator[Operation]) -> tuple[Schemas, Json]:
    """Return the schema of every type that the operations speak of, and those that are named."""
    types: dict[int, Any] = {id(headers.REQUEST_ID.type): headers.REQUEST_ID.type, **refusals.TYPES}
    for told in operations:
        spoken = [*(answer.type for answer in told.answers.values() if answer.type is not None)]
        spoken += [parameter.type for parameter in told.parameters]
        spoken += [] if told.body is None else [told.body.type]
        types |= {id(each): each for each in spoken}
    schemas, components = msgspec.json.schema_components(types.values(), ref_template=_REFERENCE)
    return dict(zip(types, schemas, strict=True)), components


def _plain(node: Any) -> Any:
    """Return the document as JSON has it, its patterns without the guard that only Python's `$` needs."""
    if isinstance(node, dict):
        return {
            name: value.replace(END, "$") if name == "pattern" and isinstance(value, str) else _plain(value)
            for name, value in node.items()
        }
    if isinstance(node, list | tuple):
        return [_plain(each) for each in node]
    return node
