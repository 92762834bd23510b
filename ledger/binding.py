"""From a payload to a handler's arguments and back, by the handler's signature.

Payload members are passed by name, each checked against its annotation; or one parameter that stands alone and is typed
with a Struct, a dataclass, a TypedDict or a pydantic model takes the whole payload. What does not fit is refused with
the path of the member, both where a job is enqueued and where it is run.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from ledger.errors import Breach, InvalidRequest
from ledger.payloads import written
from ledger.running import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

OPTIONS = frozenset(
    {
        "queue", "priority", "max_retries", "timeout", "delay", "run_at", "expires_at", "deadline", "retry",
        "metadata", "idempotency_key", "correlation_id", "job_id", "payload_version", "connection",
    }
)  # fmt: skip
"""The options of `.enqueue`; a payload member of the same name could not be told from them."""

_PATH = re.compile(r" - at `(\$.*)`$", re.DOTALL)
_FIELD = re.compile(r"^Object (?:missing required|contains unknown) field `(.*?)`", re.DOTALL)
_PLAIN_PATH = re.compile(r"\$(?:\.[^.\[\]]+|\[\d+\])*")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


class Binding:
    """One function's way from payload to keyword arguments; made once, at registration."""

    def __init__(self, function: Callable[..., Any], type_: str) -> None:
        hints = _hints(function)
        self._type = type_
        self._job: str | None = None
        self._open = False
        taking: list[tuple[inspect.Parameter, Any]] = []
        for parameter in inspect.signature(function).parameters.values():
            hint = hints.get(parameter.name, Any)
            if parameter.kind is parameter.VAR_KEYWORD:
                self._open = True
            elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
                raise ValueError(f"{type_}: parameter {parameter.name!r} cannot be passed by name; payload members are")
            elif hint is Job or (parameter.name == "job" and hint is Any):
                self._job = parameter.name
            elif parameter.name in OPTIONS:
                raise ValueError(f"{type_}: parameter {parameter.name!r} is named like an option of enqueue; rename it")
            else:
                taking.append((parameter, hint))
        self._whole = taking[0][0].name if len(taking) == 1 and not self._open and _takes_all(taking[0][1]) else None
        self._names = tuple(parameter.name for parameter, _ in taking)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
            taking[0][1] if self._whole else self._members(taking), dec_hook=_from_json
        )

    def arguments(self, job: Job) -> dict[str, Any]:
        """Return the keyword arguments of this run; raise InvalidRequest if the payload does not fit."""
        arguments = self._decode(job.body)
        if self._job is not None:
            arguments[self._job] = job
        return arguments

    def encode(self, arguments: Mapping[str, Any]) -> bytes:
        """Return the payload these arguments make; raise InvalidRequest where they would not fit the handler."""
        payload = arguments[self._whole] if self._whole and tuple(arguments) == (self._whole,) else arguments
        body = written(payload, _to_json)
        self._decode(body)
        return body

    def _members(self, taking: Iterable[tuple[inspect.Parameter, Any]]) -> type[msgspec.Struct]:
        members = [_member(parameter, hint) for parameter, hint in taking]
        return msgspec.defstruct("Payload", members, kw_only=True, forbid_unknown_fields=not self._open)

    def _decode(self, body: bytes) -> dict[str, Any]:
        try:
            decoded = self._decoder.decode(body)
        except msgspec.ValidationError as error:
            path, what = _misfit(error)
            at = f"{what} - at `{path}`"
            raise InvalidRequest([Breach(_pointer(path), f"does not fit {self._type}: {at}")]) from error
        if self._whole:
            return {self._whole: decoded}
        arguments = {name: getattr(decoded, name) for name in self._names}
        if self._open:
            arguments |= {k: v for k, v in orjson.loads(body).items() if k not in arguments}
        # A default that was left out stays the function's own business: it may be mutable, or mean "not given".
        return {name: value for name, value in arguments.items() if value is not msgspec.UNSET}


class _Misfit(ValueError):
    """What a pydantic model says of its part of the payload, with the path inside of it."""

    def __init__(self, path: str, what: str) -> None:
        self.path = path
        super().__init__(what)


def _misfit(error: msgspec.ValidationError) -> tuple[str, str]:
    """Return the path of the member that does not fit, and what is wrong with it."""
    text = str(error)
    found = _PATH.search(text)
    path, what = (found[1], text[: found.start()]) if found else ("$", text)
    if (field := _FIELD.match(what)) is not None:
        return f"{path}.{field[1]}", what
    cause = error.__cause__
    return (path + cause.path if isinstance(cause, _Misfit) else path), what


def _pointer(path: str) -> str:
    """Return the JSON Pointer into the request for such a path, as far as it can be told."""
    if not _PLAIN_PATH.fullmatch(path):
        return "/payload"
    steps = ((name or index).replace("~", "~0").replace("/", "~1") for name, index in _STEP.findall(path))
    return "".join(["/payload", *(f"/{step}" for step in steps)])


def _member(parameter: inspect.Parameter, hint: Any) -> tuple[str, Any] | tuple[str, Any, Any]:
    checked = hint if _checkable(hint) else Any
    if parameter.default is parameter.empty:
        return (parameter.name, checked)
    return (parameter.name, checked | msgspec.UnsetType if checked is not Any else Any, msgspec.UNSET)


def _checkable(hint: Any) -> bool:
    try:
        msgspec.json.Decoder(hint)
    except (TypeError, ValueError, NotImplementedError):
        return False
    return True


def _takes_all(hint: Any) -> bool:
    hint = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
    return isinstance(hint, type) and (
        issubclass(hint, msgspec.Struct) or is_dataclass(hint) or typing.is_typeddict(hint) or _is_pydantic(hint)
    )


def _is_pydantic(hint: Any) -> bool:
    # Whoever has such a model has imported pydantic; we never do.
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(hint, type) and issubclass(hint, pydantic.BaseModel)


def _from_json(wanted: type, value: Any) -> Any:
    if not _is_pydantic(wanted):
        return value
    model: Any = wanted
    try:
        # By way of JSON: strict models take more from it than from Python's values, dates for one.
        return model.model_validate_json(msgspec.json.encode(value))
    except sys.modules["pydantic"].ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
        raise _Misfit(path, first["msg"]) from None


def _to_json(value: Any) -> Any:
    if _is_pydantic(type(value)):
        return value.model_dump(mode="json", by_alias=True)
    raise NotImplementedError(f"a {type(value).__name__} is no JSON")


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        # An annotation that only type checkers can resolve: the member is then taken as it comes.
        return {}
