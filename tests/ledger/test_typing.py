"""The types that an application sees: `tests/typing/example.py` passes a strict checker, and its mistakes do not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent / "typing" / "example.py"
IGNORED = "  # pyright: ignore"


def complaints(example: Path, directory: Path) -> list[tuple[int, str]]:
    """Return the lines and rules that a strict basedpyright complains of."""
    here = Path(__file__).parents[2]
    settings = {"include": [str(example)], "extraPaths": [str(here)], "typeCheckingMode": "strict"}
    (directory / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "-p", str(directory / "pyrightconfig.json")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    found = json.loads(ran.stdout)["generalDiagnostics"]
    return [(each["range"]["start"]["line"] + 1, each.get("rule", "")) for each in found]


def test_an_application_is_typed(tmp_path):
    assert complaints(EXAMPLE, tmp_path) == []


def test_its_mistakes_are_found(tmp_path):
    lines = EXAMPLE.read_text().splitlines()
    wrong = [number for number, line in enumerate(lines, 1) if IGNORED in line]
    bare = tmp_path / "example.py"
    bare.write_text("\n".join(line.partition(IGNORED)[0] for line in lines) + "\n")
    assert sorted({line for line, _ in complaints(bare, tmp_path)}) == wrong
