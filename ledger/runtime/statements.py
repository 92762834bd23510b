"""SQL lives in files, one statement a file, named as the method that runs it; here they are read.

A statement is bytes on purpose: psycopg takes literal strings or bytes, so the type checker refuses SQL that somebody
put together at run time.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_COMMENT = re.compile(rb"^[ \t]*--.*\n", re.MULTILINE)


class Answers(Protocol):
    """What came back: rows of plain tuples."""

    def fetchall(self) -> Sequence[tuple[Any, ...]]: ...

    def fetchone(self) -> tuple[Any, ...] | None: ...


class Executes(Protocol):
    """What statements run on: a connection of ours, or one that a caller lends with the transaction it is in."""

    def execute(self, query: bytes, params: Mapping[str, Any] | None = None, *, binary: bool = False) -> Answers: ...


@cache
def statement(package: str, name: str) -> bytes:
    """Return the statement in `<package>/sql/<name>.sql`, without its lines of comment; `name` may hold a folder, as in
    `jobs/fold`.

    The comments are for us, and psycopg takes a statement of more than 4,096 bytes apart anew at every call.
    """
    return _COMMENT.sub(b"", files(package).joinpath("sql", f"{name}.sql").read_bytes())
