"""The main tables: of each backbone and number of shots, methods by data sets, ours among what is
published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import get_args

from craft_ray.config.data import ShiftedName
from craft_ray.config.reproduction import OURS
from craft_ray.reproduction.markdown_table import markdown_table
from craft_ray.reproduction.published import (
    ZERO_SHOT as PUBLISHED_ZERO_SHOT,
)
from craft_ray.reproduction.published import (
    Published,
    anchor_on,
    published_on,
)
from craft_ray.reproduction.results import HAND_CRAFTED, UNTUNED, ZERO_SHOT, Row
from craft_ray.reproduction.words import DATASETS, METHODS, shots_in_words

SHIFTED: tuple[str, ...] = get_args(ShiftedName)
READINGS = {
    "table": "",
    "figure": " (read off a curve, to 0.3 points)",
    "memory": " (**unverified**)",
}


@dataclass(frozen=True)
class Line:
    """A method in a table."""

    title: str
    access: str
    chosen_by: str
    accuracies: Mapping[str, float]
    """Data set -> percent."""
    average: float | None = None
    """As published."""
    averaged: Set[str] = frozenset()
    """The data sets that it is over."""
    is_bold: bool = False

    def mean_over(self, datasets: Sequence[str]) -> float | None:
        """None unless it is known over exactly these."""
        if all(name in self.accuracies for name in datasets):
            return sum(self.accuracies[name] for name in datasets) / len(datasets)
        return self.average if self.averaged == set(datasets) else None


def comparison(rows: Sequence[Row], comparable: Set[tuple[str, str]]) -> str:
    """All tables, and what the published methods are.

    Args:
        rows: of the reproduction.
        comparable: backbones and data sets that published numbers may stand beside.
    """
    parts = []
    used: dict[tuple[str, str], Published] = {}
    for backbone in dict.fromkeys(row.backbone for row in rows):
        own = [row for row in rows if row.backbone == backbone and row.dataset not in SHIFTED]
        tuned = [row for row in own if row.method not in UNTUNED]
        for shots in sorted({row.shots for row in tuned}):
            found = {row.dataset for row in tuned if row.shots == shots}
            datasets = [name for name in DATASETS if name in found]
            datasets += [row.dataset for row in tuned if row.dataset not in DATASETS]
            datasets = [name for name in dict.fromkeys(datasets) if name in found]
            theirs = [name for name in datasets if (backbone, name) in comparable]
            published = [one for one in published_on(backbone) if _is_shown(one, theirs, shots)]
            used |= {(one.backbone, one.method): one for one in published}
            lines = [*_own_lines(own, shots), *_published_lines(published, theirs, shots)]
            parts.append(f"## {backbone}, {shots_in_words(shots)}\n")
            parts.append(_table(lines, datasets) + "\n")
            parts += _differences(lines, datasets, backbone)
    return "\n".join([*parts, *_legend(list(used.values()))])


def _is_shown(one: Published, datasets: Sequence[str], shots: int) -> bool:
    has_average = one.average_at(shots) is not None and one.averaged.intersection(datasets)
    return bool(has_average) or any(one.accuracy(n, shots) is not None for n in datasets)


def _own_lines(rows: Sequence[Row], shots: int) -> Iterator[Line]:
    """What was measured: zero-shot, then the methods in the order in which they ran."""
    for method, title in ((ZERO_SHOT, "zero-shot"), (HAND_CRAFTED, "zero-shot, hand-crafted")):
        found = {row.dataset: row.mean for row in rows if row.method == method}
        if found:
            yield Line(f"{title}, run here", "logits", "nothing", found)
    for name, words in METHODS.items():
        found = {row.dataset: row.mean for row in rows if (row.method, row.shots) == (name, shots)}
        if found:
            yield Line(words.title, words.access, words.chosen_by, found, is_bold=name in OURS)


def _published_lines(
    published: Sequence[Published], datasets: Sequence[str], shots: int
) -> list[Line]:
    """Zero-shot first, then from the lowest average to the highest."""
    ordered = sorted(
        published, key=lambda one: (one.method != PUBLISHED_ZERO_SHOT, one.average_at(shots) or 0)
    )
    return [
        Line(
            _title(one),
            one.access,
            one.chosen_by,
            {
                name: accuracy
                for name in datasets
                if (accuracy := one.accuracy(name, shots)) is not None
            },
            one.average_at(shots),
            one.averaged,
        )
        for one in ordered
    ]


def _title(one: Published) -> str:
    if one.method == PUBLISHED_ZERO_SHOT:
        return f"{one.method}, published"
    return one.method + ("*" if one.reading != "table" else "")


def _table(lines: Sequence[Line], datasets: Sequence[str]) -> str:
    has_mean = len(datasets) > 1
    others = [line for line in lines if line.average is not None and line.averaged != set(datasets)]
    header = ["method", "needs", "chosen by"]
    header += ["mean"] if has_mean else []
    header += ["published mean"] if others else []
    header += [DATASETS.get(name, name) for name in datasets]
    table = []
    for line in lines:
        numbers = [line.mean_over(datasets)] if has_mean else []
        numbers += [line.average] if others else []
        numbers += [line.accuracies.get(name) for name in datasets]
        words = [line.title, line.access, line.chosen_by]
        cells = [*words, *("-" if n is None else f"{n:.2f}" for n in numbers)]
        table.append([_bold(cell) for cell in cells] if line.is_bold else cells)
    return markdown_table(header, table, 3)


def _bold(text: str) -> str:
    return text if text == "-" else f"**{text}**"


def _differences(lines: Sequence[Line], datasets: Sequence[str], backbone: str) -> Iterator[str]:
    """Ours minus the anchor, set by set; their mean is over those that ours was run on."""
    anchor = anchor_on(backbone)
    theirs = next((line for line in lines if anchor and line.title == anchor.method), None)
    shown = [name for name in datasets if theirs and name in theirs.accuracies]
    ours = [line for line in lines if line.is_bold]
    if theirs is None or not shown or not ours:
        return
    has_mean = len(shown) > 1
    header = [f"minus {theirs.title}", *(["mean"] if has_mean else [])]
    header += [DATASETS.get(name, name) for name in shown]
    table = []
    for line in ours:
        values = [line.accuracies.get(name) for name in shown]
        gaps = [
            None if value is None else value - theirs.accuracies[name]
            for name, value in zip(shown, values, strict=True)
        ]
        known = [gap for gap in gaps if gap is not None]
        if not known:
            continue
        if has_mean:
            gaps.insert(0, sum(known) / len(known))
        table.append([line.title, *("-" if gap is None else f"{gap:+.2f}" for gap in gaps)])
    yield markdown_table(header, table, 1) + "\n"


def _legend(used: Sequence[Published]) -> Iterator[str]:
    """What the published numbers are and where they stand."""
    if not used:
        return
    yield "### What is published\n"
    yield (
        "`needs`: what a method asks of the model: its logits; features of images and texts; "
        "gradients through its text tower; or its weights. `chosen by`: which labels beside the "
        "N shots a class chose hyperparameters. A star: no printed table says the number.\n"
    )
    for one in used:
        note = f" {one.note}" if one.note else ""
        yield f"- {one.method}, {one.backbone}{READINGS[one.reading]}: {one.source}.{note}"
    yield ""
