"""What the parts have left on disk, put together: every value of every figure, by peer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ops.bench.figures import Summary, summary

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = "options.json"


@dataclass(slots=True)
class Results:
    about: dict[str, Any]
    """Machine, servers, sizes, versions, when."""
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """By peer (raw limits under `servers`) and figure, one value a repetition."""
    series: dict[str, dict[str, list[list[float]]]] = field(default_factory=dict)
    """Points for the plots, of the first repetition."""
    failures: list[str] = field(default_factory=list)

    def summary(self, peer: str, figure: str) -> Summary | None:
        values = self.values.get(peer, {}).get(figure)
        return summary(values) if values else None

    def medians(self) -> dict[str, dict[str, float]]:
        return {peer: {name: summary(values).median for name, values in found.items() if values}
                for peer, found in self.values.items()}  # fmt: skip

    def as_json(self) -> str:
        return json.dumps({"about": self.about, "values": self.values, "failures": self.failures}, indent=1)


def load(run: Path) -> Results:
    """Read a run, whole or not."""
    found = Results(json.loads((run / OPTIONS).read_text()))
    for path in sorted(run.glob("*.part.json")):
        content = json.loads(path.read_text())
        _add(found, content["job"]["peer"], content["figures"])
    for path in sorted(run.glob("*.error")):
        found.failures.append(path.read_text().strip())
    return found


def _add(results: Results, peer: str, figures: dict[str, Any]) -> None:
    values, series = results.values.setdefault(peer, {}), results.series.setdefault(peer, {})
    for name, value in figures.items():
        if isinstance(value, dict):
            for each, points in value.items():
                series.setdefault(each if name == "series" else f"{name}.{each}", points)
        else:
            values.setdefault(name, []).append(value)
