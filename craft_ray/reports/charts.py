"""Charts as SVG in the text of a page: they take the page's colours, light or dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from craft_ray.classifiers.confusion import ConfidenceBin
from craft_ray.reports.page import NUM_COLOURS, share

WIDTH, HEIGHT = 380, 230
"""Units of a chart, about the pixels of a phone: writing is then as large there as it is meant."""
LEFT, RIGHT, TOP, BOTTOM = 40, 16, 12, 34
"""Margins of a chart with axes."""


def colour(place: int) -> str:
    """One of the page's, by turns."""
    return f"var(--c{place % NUM_COLOURS})"


@dataclass(frozen=True)
class Estimate:
    """A share with its 95 % interval.

    Attributes:
        name: whose it is.
        value: the share.
        interval: its ends; None if the number of images is not known.
        is_main: whether it is the result.
    """

    name: str
    value: float
    interval: tuple[float, float] | None
    is_main: bool


def estimates(rows: Sequence[Estimate]) -> str:
    """Bars from 0 to 100 % with intervals at their ends."""
    left, right, step = 78, 58, 34  # to the right of a full bar: 100.0%, bold
    width, height = WIDTH - left - right, step * len(rows)
    parts = []
    for place, row in enumerate(rows):
        y = place * step + step / 2
        end = left + width * row.value
        fill = "var(--main)" if row.is_main else "var(--zero)"
        css = "strong" if row.is_main else "ink"
        parts.append(
            f'<text class="ink" x="{left - 8}" y="{y + 4:.0f}" text-anchor="end">'
            f"{escape(row.name)}</text>"
            f'<rect x="{left}" y="{y - 9:.0f}" width="{end - left:.1f}" height="18" rx="3" '
            f'fill="{fill}"/>'
        )
        text_at = end
        if row.interval is not None:
            low, high = (left + width * value for value in row.interval)
            text_at = max(high, end)
            parts.append(
                f'<path d="M{low:.1f} {y:.0f}H{high:.1f}M{low:.1f} {y - 5:.0f}v10M{high:.1f} '
                f'{y - 5:.0f}v10" stroke="var(--ink)" stroke-width="1.5" fill="none"/>'
            )
        parts.append(
            f'<text class="{css}" x="{text_at + 5:.0f}" y="{y + 4:.0f}">{share(row.value)}</text>'
        )
    words = ", ".join(f"{row.name} {share(row.value)}" for row in rows)
    return svg(WIDTH, height, words, "".join(parts))


@dataclass(frozen=True)
class Curve:
    """Accuracy over what was spent for it.

    Attributes:
        name: whose it is.
        points: queries and accuracy, in the order of the queries.
        colour: place of its colour.
        is_best: whether it is set off.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: int
    is_best: bool = False


def curves(lines: Sequence[Curve], zero_shot: float | None) -> str:
    """Accuracy against queries; the best in front. There must be a point."""
    values = [value for line in lines for _, value in line.points]
    values += [] if zero_shot is None else [zero_shot]
    most = max(max(queries for queries, _ in line.points) for line in lines if line.points)
    low, high, step = _range_of(min(values), max(values))
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x_of(queries: float) -> float:
        return LEFT + width * queries / max(most, 1)

    def y_of(value: float) -> float:
        return TOP + height * (high - value) / (high - low)

    parts = []
    digits = 0 if step >= 0.01 else 1
    for index in range(round((high - low) / step) + 1):
        value = low + index * step
        y = y_of(value)
        parts.append(
            f'<path class="axis" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.{digits}%}</text>'
        )
    for queries in _ticks(most):
        parts.append(
            f'<text x="{x_of(queries):.1f}" y="{HEIGHT - 18}" text-anchor="middle">'
            f"{queries:,.0f}</text>"
        )
    parts.append(
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" text-anchor="end">candidate queries</text>'
    )
    if zero_shot is not None:
        y = y_of(zero_shot)
        parts.append(
            f'<path class="zero" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
            f'<text x="{WIDTH - RIGHT}" y="{y - 5:.1f}" text-anchor="end">zero-shot '
            f"{share(zero_shot)}</text>"
        )
    for line in sorted(lines, key=lambda each: each.is_best):
        if not line.points:
            continue
        stroke, weight = colour(line.colour), 2.6 if line.is_best else 1.3
        path = " ".join(f"{x_of(queries):.1f},{y_of(value):.1f}" for queries, value in line.points)
        end_x, end_y = x_of(line.points[-1][0]), y_of(line.points[-1][1])
        opacity = 1 if line.is_best else 0.75
        parts.append(
            f'<g opacity="{opacity}"><title>{escape(line.name)}</title>'
            f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="{weight}" '
            'stroke-linejoin="round"/>'
            f'<circle cx="{end_x:.1f}" cy="{end_y:.1f}" r="{5 if line.is_best else 3}" '
            f'fill="{stroke}"/></g>'
        )
    return svg(WIDTH, HEIGHT, "validation accuracy against candidate queries", "".join(parts))


def reliability(bins: Sequence[ConfidenceBin | None], css_colour: str) -> str:
    """How often what is said with some confidence is right; the diagonal is what it should be."""
    size, bottom = 190, 34
    total_width = LEFT + size + RIGHT
    width = size / len(bins)
    most = max((each.images for each in bins if each is not None), default=1)
    parts = [
        f'<path class="axis" d="M{LEFT} {TOP}V{TOP + size}H{LEFT + size}"/>',
    ]
    for place, each in enumerate(bins):
        if each is None:
            continue
        height, x = size * each.accuracy, LEFT + place * width
        # As pale as the bin is empty: a bar that stands on three images says little.
        opacity = 0.25 + 0.7 * math.sqrt(each.images / most)
        parts.append(
            f'<rect x="{x + 0.5:.1f}" y="{TOP + size - height:.1f}" width="{width - 1:.1f}" '
            f'height="{height:.1f}" fill="{css_colour}" opacity="{opacity:.2f}">'
            f"<title>{each.images:,} images, {share(each.confidence)} sure on average: "
            f"{share(each.accuracy)} right</title></rect>"
        )
    for value in (0.0, 0.5, 1.0):
        x, y = LEFT + size * value, TOP + size * (1 - value)
        parts.append(
            f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{value:.0%}</text>'
            f'<text x="{x:.0f}" y="{TOP + size + 15}" text-anchor="middle">{value:.0%}</text>'
        )
    parts.append(
        f'<path class="zero ideal" d="M{LEFT} {TOP + size}L{LEFT + size} {TOP}"/>'
        f'<text x="{LEFT + size}" y="{TOP + size + bottom - 4}" text-anchor="end">said with this '
        "probability</text>"
    )
    return svg(total_width, TOP + size + bottom, "reliability diagram", "".join(parts))


def shares(rows: Sequence[tuple[str, float, float | None]]) -> str:
    """Bars of named shares, each with its standard error if it is known."""
    left, right, step = 148, 62, 26
    width = WIDTH - left - right
    most = max(max(value + (error or 0) for _, value, error in rows), 1e-9)
    parts = []
    for place, (name, value, error) in enumerate(rows):
        y, end = place * step + step / 2, left + width * value / most
        words = f"{value:.0%}" + ("" if error is None else f" ± {100 * error:.0f}")
        parts.append(
            f'<text class="ink" x="{left - 8}" y="{y + 4:.0f}" text-anchor="end">{escape(name)}'
            f'</text><rect x="{left}" y="{y - 7:.0f}" width="{max(end - left, 0):.1f}" height="14" '
            f'rx="2" fill="var(--main)"/>'
        )
        reach = end
        if error is not None:
            low, high = (left + width * max(value + e, 0) / most for e in (-error, error))
            reach = high
            parts.append(
                f'<path d="M{low:.1f} {y:.0f}H{high:.1f}" stroke="var(--ink)" stroke-width="1.5"/>'
            )
        parts.append(f'<text x="{reach + 6:.0f}" y="{y + 4:.0f}">{words}</text>')
    words = ", ".join(f"{name} {value:.0%}" for name, value, _ in rows)
    return svg(WIDTH, step * len(rows), words, "".join(parts))


def change(before: float | None, after: float | None) -> str:
    """In a line of a table: from a ring to a dot, on a line from 0 to 100 %."""
    width, height, side = 160, 14, 6
    parts = [f'<path class="axis" d="M{side} 7H{width - side}"/>']
    at = [None if v is None else side + (width - 2 * side) * v for v in (before, after)]
    if at[0] is not None and at[1] is not None:
        css = "good" if at[1] >= at[0] else "bad"
        parts.append(
            f'<path d="M{at[0]:.1f} 7H{at[1]:.1f}" stroke="rgb(var(--{css}))" stroke-width="3"/>'
        )
    if at[0] is not None:
        parts.append(
            f'<circle cx="{at[0]:.1f}" cy="7" r="4" fill="var(--page)" stroke="var(--zero)" '
            'stroke-width="2"/>'
        )
    if at[1] is not None:
        parts.append(f'<circle cx="{at[1]:.1f}" cy="7" r="5" fill="var(--main)"/>')
    picture = "".join(parts)
    return f'<svg class="change" viewBox="0 0 {width} {height}" aria-hidden="true">{picture}</svg>'


def svg(width: float, height: float, words: str, content: str) -> str:
    """A picture; `words` is what it says to who cannot see it."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(words)}">'
        f"{content}</svg>"
    )


def _range_of(low: float, high: float) -> tuple[float, float, float]:
    """Of an axis of shares that shows these: its ends, and the step between two lines."""
    spread = max(high - low, 0.02)
    step = next(step for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if spread / step <= 6)
    first = math.floor((low - 0.1 * spread) / step) * step
    last = math.ceil((high + 0.1 * spread) / step) * step
    return max(first, 0.0), min(last, 1.0), step


def _ticks(most: float) -> list[float]:
    """Whole numbers from 0 to `most`, about four."""
    if most < 1:
        return [0]
    power = 10 ** math.floor(math.log10(most))
    step = next(power * factor for factor in (0.2, 0.5, 1, 2, 5) if most / (power * factor) <= 5)
    step = max(step, 1)
    return [step * index for index in range(int(most / step) + 1)]
