"""Text that Postgres can keep: without U+0000, without lone surrogates, and of bounded length.

One text that it cannot keep would make a whole batch of appends fail, everybody's outcomes among it. So what comes from
outside is refused (`is_keepable`), and what must be kept all the same, such as an error's message, is made so
(`plain`).
"""

from __future__ import annotations

LONGEST = 64_000
"""Characters kept of an error message or traceback."""
_BACKSLASH = ord("\\")
"""A number, which is quickly found in bytes."""


def plain(text: str) -> str:
    r"""Return the text as it can be kept; of a long one both ends.

    >>> plain("a\0b")
    'a\\x00b'
    """
    clean = text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
    if len(clean) <= LONGEST:
        return clean
    half = LONGEST // 2
    return f"{clean[:half]}\n… {len(clean) - 2 * half} characters left out …\n{clean[-half:]}"


def text_of(value: object) -> str:
    """Return what a value says of itself; one that fails even at that says so instead. Never raises."""
    try:
        return str(value)
    except BaseException as trouble:  # noqa: BLE001 — the user's code
        return f"(the error's own text cannot be had: {type(trouble).__name__})"


def short(text: str, longest: int) -> str:
    """Return the text as it can be kept, and at most so long.

    >>> short("a long story", 6)
    'a lon…'
    """
    clean = plain(text[:longest])
    return clean if len(clean) <= longest and len(text) <= longest else clean[: longest - 1] + "…"


def is_keepable(text: str) -> bool:
    r"""Say whether the text can be kept as it is.

    >>> is_keepable("naïve"), is_keepable("a\0b"), is_keepable("\ud800")
    (True, False, False)
    """
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def holds_null(json: bytes) -> bool:
    r"""Say whether a JSON text spells U+0000 somewhere; an escaped backslash followed by `u0000` does not.

    >>> holds_null(rb'"\u0000"'), holds_null(rb'"\\u0000"')
    (True, False)
    """
    return _BACKSLASH in json and b"\\u0000" in json and b"\\u0000" in json.replace(b"\\\\", b"")
