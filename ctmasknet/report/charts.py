"""Light charts as SVG: axes with a grid, lines, areas, bars and dots.

A report has a dozen of them, and Matplotlib's layout takes a second for each. Lengths are in
pixels of the picture, values in the units of their axis.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

LETTER = 7.0  # width of a letter of 12 pixels, on average; generous, as fonts differ
_SIZE, _LINE, _TICK = 12, 16, 4
_INK, _GRID = "#333333", "#e3e3e3"
_STEPS = (1, 2, 5)


@dataclass(frozen=True)
class Axis:
    """From values to places.

    Attributes:
        low, high: its range; for a logarithmic one above 0.
        label: what it shows, with its unit.
        ticks: the values that are marked.
        text: a value as text; "\\n" begins a line.
        log: whether it is logarithmic.
    """

    low: float
    high: float
    label: str
    ticks: Sequence[float]
    text: Callable[[float], str] = "{:g}".format
    log: bool = False

    def share(self, value: float) -> float:
        """Return where a value lies: 0 at the low end, 1 at the high end."""
        low, high, value = (
            map(math.log, (self.low, self.high, value))
            if self.log
            else ((self.low, self.high, value))
        )
        return (value - low) / (high - low)


def steps(low: float, high: float, most: int = 5, whole: bool = False) -> list[float]:
    """Return at most `most` + 1 round numbers, evenly spaced, between two; or `whole` ones."""
    span = max(high - low, 1e-9)
    size = 10.0 ** math.floor(math.log10(span / most))
    step = next(size * x for x in (*_STEPS, 10, 20) if span / (size * x) <= most)
    step = max(step, 1.0) if whole else step
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_steps(low: float, high: float, most: int = 6) -> list[float]:
    """Return the 1, 2, 5, 10, ... between two numbers above 0, or fewer of them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [x * 10.0**p for p in powers for x in _STEPS if low <= x * 10.0**p <= high]
    return found if len(found) <= most else [x for x in found if math.log10(x) % 1 == 0] or found


@dataclass
class Panel:
    """A pair of axes and what is drawn on them, `width` x `height` between the axes."""

    x: Axis
    y: Axis
    width: float
    height: float
    title: str = ""
    parts: list[str] = field(default_factory=list)

    def line(
        self, xs: Sequence[float], ys: Sequence[float], colour: str, width: float, dashes: str = ""
    ) -> None:
        """Draw a line through the points, interrupted where one is NaN."""
        runs: list[list[str]] = [[]]
        for x, y in zip(xs, ys, strict=True):
            if math.isnan(y):
                runs.append([])
            else:
                runs[-1].append(self._at(x, y))
        look = f'stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dashes or "none"}"'
        self.parts += [f'<polyline points="{" ".join(r)}" fill="none" {look}/>' for r in runs if r]

    def area(self, xs: Sequence[float], ys: Sequence[float], colour: str) -> None:
        """Fill between the points and the foot."""
        points = [self._at(x, y) for x, y in zip(xs, ys, strict=True)]
        ends = [self._at(xs[-1], self.y.low), self._at(xs[0], self.y.low)]
        self.parts.append(
            f'<polygon points="{" ".join([*points, *ends])}" fill="{colour}" fill-opacity="0.4"/>'
        )

    def bars(self, edges: Sequence[float], heights: Sequence[float], colour: str) -> None:
        """Draw a histogram: len(edges) is len(heights) + 1."""
        for left, right, value in zip(edges, edges[1:], heights, strict=False):
            x0, x1, y = self._x(left), self._x(right), self._y(value)
            if value:
                self.parts.append(
                    f'<rect x="{x0:.1f}" y="{y:.1f}" width="{x1 - x0:.1f}" '
                    f'height="{self.height - y:.1f}" fill="{colour}" stroke="white"/>'
                )

    def dots(
        self, xs: Sequence[float], ys: Sequence[float], colour: str, radius: float, rim: str = ""
    ) -> None:
        """Draw a dot at each point that is no NaN."""
        look = f'fill="{colour}" stroke="{rim or "none"}" stroke-width="0.7"'
        for x, y in zip(xs, ys, strict=True):
            if not math.isnan(y):
                place = f'cx="{self._x(x):.1f}" cy="{self._y(y):.1f}"'
                self.parts.append(f'<circle {place} r="{radius}" {look}/>')

    def marks(self, xs: Sequence[float]) -> None:
        """Draw a small triangle above the axes at each x."""
        self.parts += [f'<path d="M{self._x(x) - 4:.1f} -5h8l-4 7z" fill="#444"/>' for x in xs]

    def words(self, text: str) -> None:
        """Write in the middle."""
        self.parts.append(_text(self.width / 2, self.height / 2, text))

    @property
    def margin(self) -> float:
        """Return how much room the labels of the y axis need to the left."""
        return _LINE + _TICK + 8 + LETTER * max(len(self.y.text(v)) for v in self.y.ticks)

    @property
    def foot(self) -> float:
        """Return how much room the labels of the x axis need below."""
        lines = max(self.x.text(v).count("\n") for v in self.x.ticks) + 1
        return _TICK + _LINE * (lines + (1 if self.x.label else 0)) + 6

    def svg(self, left: float, top: float) -> str:
        """Return the panel, its axes' upper left corner at the place given."""
        return f'<g transform="translate({left:.1f} {top:.1f})">{"".join(self._all())}</g>'

    def _all(self) -> list[str]:
        width, height = self.width, self.height
        found = []
        for value in self.y.ticks:
            y = self._y(value)
            found.append(f'<path d="M0 {y:.1f}H{width}" stroke="{_GRID}"/>')
            found.append(_text(-_TICK - 2, y + 4, self.y.text(value), "end"))
        for value in self.x.ticks:
            x = self._x(value)
            found.append(f'<path d="M{x:.1f} 0V{height}" stroke="{_GRID}"/>')
            for i, line in enumerate(self.x.text(value).split("\n")):
                found.append(_text(x, height + _TICK + _SIZE + i * _LINE, line))
        found += self.parts
        found.append(f'<path d="M0 0V{height}H{width}" fill="none" stroke="{_INK}"/>')
        found.append(_text(width / 2, height + self.foot - 6, self.x.label))
        turned = f'transform="rotate(-90 {_LINE - self.margin:.1f} {height / 2})"'
        found.append(_text(_LINE - self.margin, height / 2, self.y.label, more=turned))
        found.append(_text(width / 2, -10, self.title))
        return found

    def _x(self, value: float) -> float:
        return self.x.share(value) * self.width

    def _y(self, value: float) -> float:
        return (1 - self.y.share(value)) * self.height

    def _at(self, x: float, y: float) -> str:
        return f"{self._x(x):.1f},{self._y(y):.1f}"


def legend(names: Sequence[tuple[str, str, str]], width: float) -> tuple[str, float]:
    """Return a legend of (name, colour, dashes) from the origin down, and its height.

    Names stand beside each other where they have room in `width`.
    """
    found, x, y = [], 0.0, 0.0
    for name, colour, dashes in names:
        wide = 48 + LETTER * len(name)
        if x and x + wide > width:
            x, y = 0.0, y + _LINE + 2
        look = f'stroke="{colour}" stroke-width="2.4" stroke-dasharray="{dashes or "none"}"'
        found.append(f'<path d="M{x:.0f} {y + 8:.0f}h26" {look}/>')
        found.append(_text(x + 31, y + 12, name, "start"))
        x += wide
    return "".join(found), y + _LINE + 2


def page(parts: Sequence[str], width: float, height: float) -> str:
    """Return the SVG picture of its parts."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="DejaVu Sans, Verdana, sans-serif" '
        f'font-size="{_SIZE}" fill="{_INK}"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, text: str, anchor: str = "middle", more: str = "") -> str:
    if not text:
        return ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'
