"""Durations as people write them: Go style (`90s`, `1h30m`, `300ms`) or ISO-8601 (`PT90S`, `P1DT2H`, `P2W`).

Nothing is guessed: a number without a unit, days in Go style, months, years and negative spans are refused.

>>> parse("1h30m"), parse("PT90S"), parse("0")
(datetime.timedelta(seconds=5400), datetime.timedelta(seconds=90), datetime.timedelta(0))
"""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_GO = re.compile(r"(?:\d{1,15}(?:\.\d{0,12})?(?:ns|us|µs|ms|s|m|h))+", re.ASCII)
_GO_PART = re.compile(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)", re.ASCII)
_NUMBER = r"(\d{1,15}(?:\.\d{1,12})?)"
_ISO = re.compile(
    rf"P(?=.)(?:{_NUMBER}W|(?:{_NUMBER}D)?(?:T(?=.)(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?)", re.ASCII
)
_ISO_UNITS = (604800.0, 86400.0, 3600.0, 60.0, 1.0)
_LONGEST = timedelta(days=36_500)
_ALLOWED = "write it like 300ms, 90s, 1h30m or PT90S"


def parse(text: str) -> timedelta:
    """Return the duration, or raise ValueError with a message that says how to write one."""
    seconds = _seconds(text)
    if seconds is None:
        raise ValueError(f"{text!r} is not a duration; {_ALLOWED}")
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"{text!r} is longer than a hundred years")
    return timedelta(seconds=seconds)


def in_words(span: timedelta) -> str:
    """Return a short form for people.

    >>> in_words(timedelta(seconds=5400)), in_words(timedelta(milliseconds=12.3)), in_words(timedelta(days=3, hours=2))
    ('1h30m', '12.3ms', '3d2h')
    """
    seconds = span.total_seconds()
    if seconds < 0:
        return "-" + in_words(-span)
    if seconds < 0.9995:  # what rounds up to 1000 ms is a second
        return f"{seconds * 1000:.3g}ms"
    if seconds < 60:
        return f"{seconds:.3g}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{value}{unit}" for value, unit in ((days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")) if value]
    return "".join(parts[:2]) or "0s"


def spelled(span: timedelta) -> str:
    """Return the duration exactly, in a form that `parse` takes.

    >>> spelled(timedelta(days=1)), spelled(timedelta(seconds=90.5)), spelled(timedelta(0))
    ('24h', '1m30s500ms', '0s')
    """
    rest = span // timedelta(microseconds=1)
    parts: list[str] = []
    for unit, size in (("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1000), ("us", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _seconds(text: str) -> float | None:
    if text in ("0", "0s"):
        return 0.0
    if _GO.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _GO_PART.findall(text))
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    return sum(float(value) * unit for value, unit in zip(match.groups(), _ISO_UNITS, strict=True) if value)
