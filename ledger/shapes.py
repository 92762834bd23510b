"""A request read into the type that describes it: at once when all of it is good, else member by member, so that every
bad member is named and not the first alone.

The type is a msgspec Struct, and the only place where a rule stands: the same `Meta` that refuses a value here is what
the API's description publishes. `Meta(extra={"must": …})` says in plain words what a refused member must be, and
`missing` what is said when it is not there at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, UnsetType

from ledger.errors import Breach
from ledger.strict_json import escaped

S = TypeVar("S", bound=msgspec.Struct)

TRUE_OR_FALSE = "must be true or false"


def read(shape: type[S], members: Mapping[str, Any]) -> tuple[S, list[Breach]]:
    """Return the members as this type, and all that is wrong with them.

    Where something is, the bad members are left out, required ones UNSET: good enough to look for further breaches.
    """
    try:
        return msgspec.convert(members, shape), []
    except msgspec.ValidationError:
        return _struct(shape, members, "")


def _struct(shape: type[S], members: Mapping[str, Any], pointer: str) -> tuple[S, list[Breach]]:
    fields, breaches = _fields(shape), list[Breach]()
    good: dict[str, Any] = {}
    for name, value in members.items():
        below = f"{pointer}/{escaped(str(name))}"
        if name not in fields:
            breaches.append(Breach(below, f"is not a member of {pointer.rpartition('/')[2] or 'this request'}"))
            continue
        found, wrong = _value(fields[name].type, value, below)
        breaches += wrong
        if found is not UNSET:
            good[fields[name].name] = found
    for name, field in fields.items():
        if field.required and field.name not in good:
            good[field.name] = UNSET
            if name not in members:
                breaches.append(Breach(f"{pointer}/{name}", _words(field.type).get("missing", "is required")))
    return shape(**good), breaches


def _value(hint: Any, value: Any, pointer: str) -> tuple[Any, list[Breach]]:
    """Return the value as this type says, UNSET where it does not fit and for nothing else, and what is wrong in it."""
    bare = _bare(hint)
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct) and isinstance(value, Mapping):
        return _struct(bare, value, pointer)
    try:
        return msgspec.convert(value, hint), []
    except msgspec.ValidationError as error:
        return UNSET, list(_inside(bare, value, pointer)) or [Breach(pointer, _refusal(hint, value, error))]


def _inside(bare: Any, value: Any, pointer: str) -> Iterator[Breach]:
    """Find what is wrong with the entries of an object or a list."""
    kind, arguments = get_origin(bare), get_args(bare)
    if kind is dict and isinstance(value, Mapping):
        for name, entry in value.items():
            below = f"{pointer}/{escaped(str(name))}"
            yield from _value(arguments[0], name, pointer)[1]
            yield from _value(arguments[1], entry, below)[1]
    elif kind is list and isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _value(arguments[0], entry, f"{pointer}/{index}")[1]


def _refusal(hint: Any, value: Any, error: msgspec.ValidationError) -> str:
    words, bare = _words(hint), _bare(hint)
    if value == "" and "missing" in words:
        return words["missing"]
    if "must" in words:
        return words["must"]
    if bare is bool:
        return TRUE_OR_FALSE
    if get_origin(bare) is Literal:
        return f"must be one of {', '.join(get_args(bare))}"
    return f"is not allowed: {error}"


@cache
def _fields(shape: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    hints = get_type_hints(shape, include_extras=True)
    return {
        field.encode_name: msgspec.structs.replace(field, type=hints[field.name])
        for field in msgspec.structs.fields(shape)
    }


def _words(hint: Any) -> dict[str, str]:
    """Return the plain words that the type has for a refusal, from the outermost that has some."""
    for part in _parts(hint):
        for meta in getattr(part, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta) and meta.extra:
                return meta.extra
    return {}


def _bare(hint: Any) -> Any:
    """Return the type without its annotations and without "may be left out"."""
    return next(_bared(part) for part in _parts(hint))


def _bared(hint: Any) -> Any:
    return _bare(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


def _parts(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) in (Union, UnionType):
        return tuple(part for part in get_args(hint) if part is not UnsetType)
    return (hint,)
