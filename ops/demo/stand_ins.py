"""Files that are broken on purpose, for Pythons that come without the library's own tests.

Debian's, for one, leaves them out, and with them everything that cannot be compiled. So that there is something to
retry and to bury there too, these few are written next to the demonstration's data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SOURCES: dict[str, bytes] = {
    "bad_grammar.py": b"def answer(:\n    return 42\n",
    "bad_indent.py": b"def answer():\n    if True:\n  return 42\n",
    "bad_name.py": b"class = 'a keyword'\n",
    "half_written.py": b"def answer():\n    return [1, 2, 3\n",
    "cut_off.py": b'TEXT = """the rest of this file was lost\n',
    "latin_1.py": "# -*- coding: latin-1 -*-\nGREETING = 'Grüße'\n".encode("latin-1"),
    "unknown_encoding.py": b"# -*- coding: no-such-encoding -*-\nTEXT = '\xff'\n",
}
"""`bad…` are permanent failures, the others are retried: one of them gets well, the rest die of it."""


def write(directory: Path) -> list[Path]:
    """Write the files, unless they are there, and return them."""
    directory.mkdir(parents=True, exist_ok=True)
    files = [directory / name for name in sorted(SOURCES)]
    for file in files:
        file.write_bytes(SOURCES[file.name])
    return files
