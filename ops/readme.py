"""The generated parts of the README: the life of a job from the rules, the settings from the code.

`python -m ops.readme` writes them; a test compares.
"""

from __future__ import annotations

import re
from pathlib import Path

from ledger.events import Kind
from ledger.job import STEPS
from ledger.settings import VARIABLES

README = Path(__file__).parent.parent / "README.md"


def life() -> str:
    rows = ["| event | from | to |", "|---|---|---|"]
    for kind in Kind:
        origins, to = STEPS[kind]
        words = ", ".join("(new)" if origin is None else origin.value for origin in origins)
        rows.append(f"| {kind.value} | {words} | {to.value}{' (end)' if to.is_end else ''} |")
    return "\n".join(rows)


def settings() -> str:
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    rows += [f"| `{v.name}` | {v.default or '–'} | {v.meaning} |" for v in VARIABLES]
    return "\n".join(rows)


def generated(text: str) -> str:
    """Return the README's text with its generated parts made anew."""
    for name, part in (("life", life()), ("settings", settings())):
        pattern = rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda match, part=part: f"{match[1]}\n{part}\n\n{match[2]}", text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    README.write_text(generated(README.read_text()))
