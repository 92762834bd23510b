"""A job's history drawn as a timeline: when, how long after the event before, what, who, and what it added.

Takes the resource Event, so that what the log gave and what the HTTP API answered are drawn alike.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from ledger.cli_output import coloured, plain
from ledger.durations import in_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    Event = Mapping[str, Any]

LONGEST_VALUE = 60
"""Characters shown of a payload or a result."""

MARKS = {
    "scheduled": "◷",
    "enqueued": "○",
    "leased": "▶",
    "succeeded": "✔",
    "failed": "✘",
    "retried": "↻",
    "dead_lettered": "✝",
    "cancelled": "⊘",
    "discarded": "⊘",
}


def timeline(events: Sequence[Event], *, before: Event | None = None) -> Table:
    """Return the events as a table; `before` is the one that precedes the first, if any."""
    from rich.table import Table  # noqa: PLC0415 — rich is loaded when something is drawn

    table = Table(box=None, show_header=before is None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    day = f"{datetime.fromisoformat(events[0]['at']):%Y-%m-%d}" if events else "Time"
    for name, options in (
        (day, {}),
        ("Since", {"justify": "right", "min_width": 8}),
        ("Event", {"min_width": 11}),
        ("Actor", {}),
        ("Added", {}),
    ):
        table.add_column(name, **options)  # pyright: ignore[reportArgumentType]
    for event in events:
        table.add_row(*_row(event, before))
        before = event
    return table


def added(event: Event) -> str:
    """Say in a few words what an event added to what was known."""
    data: Mapping[str, Any] = event["data"]
    describe = _DESCRIPTIONS.get(event["kind"])
    return describe(data) if describe else ""


def _row(event: Event, before: Event | None) -> tuple[str, ...]:
    at = datetime.fromisoformat(event["at"])
    earlier = None if before is None else datetime.fromisoformat(before["at"])
    clock = f"{at:%H:%M:%S.%f}"[:-3]
    shown = clock if earlier is None or earlier.date() == at.date() else f"{at:%Y-%m-%d} {clock}"
    since = "" if earlier is None else f"+{in_words(max(at - earlier, timedelta()))}"
    kind = event["kind"]
    mark = coloured(kind).replace(f"]{kind}[", f"]{MARKS.get(kind, '·')} {kind}[")
    return f"[dim]{shown}[/]", f"[dim]{since}[/]", mark, f"[dim]{plain(event['actor'])}[/]", plain(added(event))


def _opening(data: Mapping[str, Any]) -> str:
    if "type" not in data:
        return ""
    return f"{data['type']} {_short(data.get('payload'))}"


def _scheduled(data: Mapping[str, Any]) -> str:
    reason = None if "type" in data else data.get("reason")
    return _joined(_opening(data), reason, f"due {_clock(data.get('run_at'))}")


def _enqueued(data: Mapping[str, Any]) -> str:
    crashes = data.get("crash_count")
    reason = str(data["reason"]).replace("_", " ") if "reason" in data else None
    return _joined(_opening(data), reason, f"{crashes} worker(s) lost by now" if crashes else None, data.get("note"))


def _leased(data: Mapping[str, Any]) -> str:
    return f"attempt {data.get('attempt')}"


def _succeeded(data: Mapping[str, Any]) -> str:
    return _joined(_ran(data), _short(data["result"]) if "result" in data else None)


def _failed(data: Mapping[str, Any]) -> str:
    message = str(data.get("error_message", "")).splitlines()
    return _joined(f"{data.get('error_type')}: {_cut(message[0] if message else '')}", _ran(data))


def _retried(data: Mapping[str, Any]) -> str:
    again = f"again in {in_words(timedelta(seconds=data.get('delay_seconds', 0)))}"
    if data.get("requeue_count") is not None:
        return _joined("by an operator", data.get("reason"), again)
    return _joined(again, f"retry {data.get('retry_count')}")


def _dead_lettered(data: Mapping[str, Any]) -> str:
    crashes = data.get("crash_count")
    words = str(data.get("reason")).replace("_", " ")
    return _joined(words, f"{crashes} worker(s) lost" if crashes else None, data.get("detail"))


def _cancelled(data: Mapping[str, Any]) -> str:
    return _joined(data.get("cause"), data.get("reason"))


def _discarded(data: Mapping[str, Any]) -> str:
    return _joined(data.get("reason"))


_DESCRIPTIONS = {
    "scheduled": _scheduled,
    "enqueued": _enqueued,
    "leased": _leased,
    "succeeded": _succeeded,
    "failed": _failed,
    "retried": _retried,
    "dead_lettered": _dead_lettered,
    "cancelled": _cancelled,
    "discarded": _discarded,
}


def _ran(data: Mapping[str, Any]) -> str | None:
    milliseconds = data.get("duration_ms")
    return None if milliseconds is None else f"ran {in_words(timedelta(milliseconds=milliseconds))}"


def _joined(*parts: str | None) -> str:
    return " · ".join(part for part in parts if part)


def _short(value: Any) -> str:
    return _cut(orjson.dumps(value).decode(errors="replace"))  # also takes JSON that is passed through as it was sent


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _clock(at: str | None) -> str:
    return f"{datetime.fromisoformat(at):%H:%M:%S}" if at else "?"
