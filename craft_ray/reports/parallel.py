"""Parallel coordinates: a line a trial, through what it tried to what came of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from craft_ray.reports.charts import svg
from craft_ray.reports.page import share

APART, HEIGHT, TOP, BOTTOM, SIDE = 96, 190, 58, 22, 46
"""Units between two axes, and the margins."""
MOST_VALUES = 8
"""Of words on one axis that are written beside it."""


@dataclass(frozen=True)
class Tried:
    """One trial.

    Attributes:
        number: of it.
        params: what it tried; all of a chart have the same ones.
        accuracy: what came of it, on the images that decide.
        is_best: whether it is the one that was chosen.
    """

    number: int
    params: Mapping[str, Any]
    accuracy: float
    is_best: bool


def parallel_coordinates(
    tried: Sequence[Tried], is_log: Mapping[str, bool], on: str = "validation"
) -> str:
    """An axis for each parameter, and the last one for the accuracy.

    Args:
        tried: trials with the same parameters; at least one.
        is_log: parameters that are searched on a logarithmic scale.
        on: which images the accuracy is of.
    """
    paths = list(tried[0].params)
    axes = [_axis([each.params[path] for each in tried], is_log.get(path, False)) for path in paths]
    accuracies = [each.accuracy for each in tried]
    axes.append(_axis(accuracies, False, percent=True))
    names = [path.split(".")[-1].replace("_", " ") for path in paths] + [on]
    width = 2 * SIDE + APART * (len(axes) - 1)
    parts = []
    for place, (name, path) in enumerate(zip(names, [*paths, f"accuracy on {on}"], strict=True)):
        x = SIDE + place * APART
        parts.append(
            f'<path class="axis" d="M{x} {TOP}v{HEIGHT}"/>'
            + "".join(
                f'<text class="ink" x="{x}" y="{TOP - 26 - 13 * above}" text-anchor="middle">'
                f"<title>{escape(path)}</title>{escape(line)}</text>"
                for above, line in enumerate(reversed(_lines(name)))
            )
        )
    low, high = min(accuracies), max(accuracies)
    for each in sorted(tried, key=lambda each: (each.is_best, each.accuracy)):
        values = [axes[place].at(each.params[path]) for place, path in enumerate(paths)]
        values.append(axes[-1].at(each.accuracy))
        line = " ".join(
            f"{SIDE + place * APART},{TOP + HEIGHT * (1 - value):.1f}"
            for place, value in enumerate(values)
        )
        rank = 1.0 if high == low else (each.accuracy - low) / (high - low)
        tries = ", ".join(f"{path}={_words(value)}" for path, value in each.params.items())
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="var(--main)" stroke-linejoin="round" '
            f'stroke-width="{2.8 if each.is_best else 1.6}" '
            f'opacity="{1 if each.is_best else 0.25 + 0.55 * rank:.2f}">'
            f"<title>{escape(f'trial {each.number}: {share(each.accuracy)}; {tries}')}</title>"
            "</polyline>"
        )
    for place, axis in enumerate(axes):
        for value, words in axis.marks:
            x, y = SIDE + place * APART, TOP + HEIGHT * (1 - value)
            beside = f'x="{x + 5}" y="{y + 4:.1f}"'
            if value in (0, 1):
                y += -6 if value == 1 else 15
                beside = f'x="{x}" y="{y:.1f}" text-anchor="middle"'
            parts.append(f"<text {beside}>{escape(words)}</text>")
    words = f"parallel coordinates of {len(tried)} trials"
    picture = svg(width, TOP + HEIGHT + BOTTOM, words, "".join(parts))
    # Wider than a phone: it is moved sideways there, and not made too small to read.
    wide = f'style="min-width: {width}px; max-width: {1.6 * width:.0f}px"'
    return f'<div class="wide">{picture.replace("<svg ", f"<svg {wide} ", 1)}</div>'


@dataclass(frozen=True)
class _Axis:
    """Where a value lies between 0 and 1, and what is written beside it."""

    places: Mapping[Any, float]
    marks: Sequence[tuple[float, str]]

    def at(self, value: Any) -> float:
        return self.places[_key(value)]


def _axis(values: Sequence[Any], is_log: bool, percent: bool = False) -> _Axis:
    different = list(dict.fromkeys(map(_key, values)))
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        ordered = sorted(different, key=str)
        last = max(len(ordered) - 1, 1)
        places = {key: 0.5 if len(ordered) == 1 else i / last for i, key in enumerate(ordered)}
        words = {key: _short(_words(key[1])) for key in ordered}
        return _Axis(places, [(places[key], words[key]) for key in ordered[:MOST_VALUES]])
    numbers = [key[1] for key in different]
    is_log = is_log and min(numbers) > 0
    scaled = [math.log(number) if is_log else float(number) for number in numbers]
    low, high = min(scaled), max(scaled)
    spread = high - low
    places = {
        key: 0.5 if spread == 0 else (value - low) / spread
        for key, value in zip(different, scaled, strict=True)
    }
    ends = {places[_key(number)]: number for number in (min(numbers), max(numbers))}
    return _Axis(
        places, [(at, share(value) if percent else _words(value)) for at, value in ends.items()]
    )


def _key(value: Any) -> tuple[str, Any]:
    """1 and true are the same to Python, and two values of an axis."""
    return ("bool" if isinstance(value, bool) else "value", value)


def _words(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _lines(name: str) -> list[str]:
    """A name in at most two lines."""
    words = name.split(" ")
    half = (len(words) + 1) // 2
    lines = [" ".join(words[:half]), " ".join(words[half:])]
    return [_short(line) for line in lines if line]


def _short(text: str) -> str:
    return text if len(text) <= 16 else f"{text[:15]}…"
