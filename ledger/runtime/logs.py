"""Log lines: structlog set up once a process, JSON or console, with the standard library's logging in the same form.

Lines go to stderr, one event a line, line breaks escaped by JSON. What other packages log (gunicorn, Alembic), warnings
and uncaught exceptions take the same way, so with LOG_FORMAT=json every line is JSON.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

import orjson
import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _Wishes(Protocol):
    @property
    def log_level(self) -> str: ...
    @property
    def log_format(self) -> str: ...


def configure(settings: _Wishes, service: str) -> None:
    """Set up logging for this process, before its first line; `service` is in every line."""
    level = LEVELS[settings.log_level]
    as_json = settings.log_format == "json"
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S.%f", utc=as_json, key="at"),
    ]
    final = _json_renderers(service) if as_json else _console_renderers()
    structlog.configure(
        processors=[*shared, *final, _to_bytes],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    _capture_standard_logging(level, shared, final)
    _capture_uncaught()


def _json_renderers(service: str) -> list[Processor]:
    def add_service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    return [add_service, structlog.processors.format_exc_info, _ordered, structlog.processors.JSONRenderer(_dumps)]


def _console_renderers() -> list[Processor]:
    colours = "NO_COLOR" not in os.environ and (sys.stderr.isatty() or "FORCE_COLOR" in os.environ)
    renderer = structlog.dev.ConsoleRenderer(
        colors=colours,
        timestamp_key="at",
        pad_event_to=24,
        pad_level=True,
        exception_formatter=structlog.dev.plain_traceback,
    )
    return [_milliseconds, renderer]


def _capture_standard_logging(level: int, shared: list[Processor], final: list[Processor]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    for chatty in ("alembic.runtime", "asyncio"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))
    # The pool complains at every attempt while Postgres is away; that it is away is said once, by whoever needs it.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


def _capture_uncaught() -> None:
    log = structlog.get_logger()

    def in_process(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            log.error("uncaught exception", exc_info=(kind, error, trace))

    def in_thread(arguments: threading.ExceptHookArgs) -> None:
        name = arguments.thread.name if arguments.thread is not None else None
        error = arguments.exc_value or arguments.exc_type()
        log.error("uncaught exception", thread=name, exc_info=(arguments.exc_type, error, arguments.exc_traceback))

    sys.excepthook = in_process
    threading.excepthook = in_thread


def _ordered(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Put what the eye looks for first at the front of the line."""
    front = {key: event.pop(key) for key in ("at", "level", "service", "event") if key in event}
    return {**front, **event}


def _milliseconds(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["at"] = event["at"][:-3]
    return event


def _dumps(event: EventDict, **_: Any) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _to_bytes(_: WrappedLogger, __: str, line: Any) -> bytes:
    return str(line).encode(errors="backslashreplace")
