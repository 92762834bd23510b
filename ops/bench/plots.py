"""Pictures as plain SVG: lines with a legend, on linear or logarithmic axes. That needs no library."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Points = Sequence[Sequence[float]]

WIDTH, HEIGHT = 860, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 190, 44, 52
COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22",
           "#7f7f7f", "#393b79", "#637939")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Axis:
    title: str
    low: float
    high: float
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Return where the value is between the axis' ends, from 0 to 1."""
        if self.logarithmic:
            value, low, high = (math.log10(max(each, self.low)) for each in (value, self.low, self.high))
        else:
            low, high = self.low, self.high
        return min(max((value - low) / (high - low or 1), 0.0), 1.0)

    def ticks(self) -> list[float]:
        if self.logarithmic:
            exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            return [tick for e in exponents for tick in (10.0**e, 2 * 10.0**e, 5 * 10.0**e)
                    if self.low <= tick <= self.high]  # fmt: skip
        step = _round_step((self.high - self.low) / 6)
        return [self.low + n * step for n in range(int((self.high - self.low) / step) + 1)]


def lines(title: str, x: str, y: str, series: Mapping[str, Points], *, logarithmic: bool = False) -> str:
    """Return the picture of these lines; `logarithmic` says it of the y axis."""
    xs = [point[0] for points in series.values() for point in points]
    ys = [point[1] for points in series.values() for point in points]
    least = max(min((value for value in ys if value > 0), default=0.1), 1e-3)
    across = Axis(x, min(*xs, 0.0), max(xs))
    up = Axis(y, least if logarithmic else 0.0, max(*ys, least * 1.01), logarithmic)
    body = [_frame(title, across, up)]
    for number, (name, points) in enumerate(series.items()):
        colour, weight = COLOURS[number % len(COLOURS)], 2.6 if number == 0 else 1.5
        path = " ".join(f"{_x(across, point[0]):.1f},{_y(up, point[1]):.1f}" for point in points)
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{weight}"/>')
        at = TOP + 10 + number * 19
        body.append(f'<rect x="{WIDTH - RIGHT + 14}" y="{at - 8}" width="14" height="4" fill="{colour}"/>')
        body.append(f'<text x="{WIDTH - RIGHT + 34}" y="{at}">{escape(name)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _frame(title: str, across: Axis, up: Axis) -> str:
    parts = [f'<text x="{LEFT}" y="24" font-size="16" font-weight="bold">{escape(title)}</text>']
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for tick in across.ticks():
        at = _x(across, tick)
        parts.append(f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{bottom}" stroke="#eee"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{_number(tick)}</text>')
    for tick in up.ticks():
        at = _y(up, tick)
        parts.append(f'<line x1="{LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}" stroke="#eee"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    parts.append(f'<path d="M{LEFT},{TOP}V{bottom}H{right}" fill="none" stroke="#444"/>')
    parts.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(across.title)}</text>')
    middle = (TOP + bottom) / 2
    turned = f'transform="rotate(-90 18 {middle})" text-anchor="middle"'
    parts.append(f'<text x="18" y="{middle}" {turned}>{escape(up.title)}</text>')
    return "\n".join(parts)


def _x(axis: Axis, value: float) -> float:
    return LEFT + axis.share(value) * (WIDTH - LEFT - RIGHT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis.share(value) * (HEIGHT - TOP - BOTTOM)


def _round_step(rough: float) -> float:
    """Return 1, 2 or 5 times a power of ten, at least the rough step.

    >>> _round_step(0.3), _round_step(700)
    (0.5, 1000)
    """
    power = 10 ** math.floor(math.log10(rough or 1))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"
