"""Which revision is the newest, told from the names of the files: every process asks, and none needs Alembic for it."""

from __future__ import annotations

import re
from pathlib import Path

_REVISION = re.compile(r"(\d{4})_\w+\.py")


def newest() -> str:
    """Return the newest revision there is."""
    names = (path.name for path in (Path(__file__).parent / "versions").iterdir())
    return max(match[1] for name in names if (match := _REVISION.fullmatch(name)))
