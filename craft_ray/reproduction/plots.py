"""Accuracy against shots and against queries, a panel for each data set."""

from __future__ import annotations

import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from craft_ray.config.reproduction import MethodName
from craft_ray.files.remote import Place
from craft_ray.reproduction.results import UNTUNED, ZERO_SHOT, Row
from craft_ray.reproduction.words import DATASETS, METHODS, shots_in_words

BY_SHOTS_FILE = "accuracy_by_shots.png"
BY_QUERIES_FILE = "accuracy_by_queries.png"
COLUMNS = 4
PANEL_INCHES = (3.4, 2.8)
LEGEND_LINE_INCHES, LETTER_INCHES, LEGEND_ROW_INCHES = 0.6, 0.065, 0.18
"""Of a legend of size 8: the lines with the space around them, a letter, and a row."""
STYLES = ("--", "-.")


Points = dict[int, tuple[float, float]]
"""Shots -> accuracy and standard deviation."""


@dataclass
class _Panel:
    """A data set, or the mean of all."""

    title: str
    measured: dict[str, Points] = field(default_factory=dict)
    published: dict[str, Points] = field(default_factory=dict)
    zero_shot: dict[str, float] = field(default_factory=dict)


def plot_by_shots(rows: Sequence[Row], path: Place) -> None:
    """Test accuracy against shots, a line a backbone and method with bars of one standard
    deviation; dashed the published numbers that they are compared with, dotted zero-shot. With
    several data sets the first panel is their mean, where all have a value."""
    datasets = dict.fromkeys(row.dataset for row in rows if row.method not in UNTUNED)
    parts = [_panel([row for row in rows if row.dataset == name], name) for name in datasets]
    if len(parts) > 1:
        parts.insert(0, _mean_panel(parts))
    figure, panels = _panels(len(parts))
    colours: dict[str, str] = {}
    legend: dict[str, Artist] = {}
    for axes, part in zip(panels, parts, strict=True):
        for label, points in part.measured.items():
            shots = sorted(points)
            colour = colours.setdefault(label, f"C{len(colours) % 10}")
            means, deviations = zip(*(points[n] for n in shots), strict=True)
            drawn = axes.errorbar(shots, means, deviations, color=colour, marker="o", capsize=2)
            legend.setdefault(label, drawn.lines[0])
        for label, points in part.published.items():
            shots = sorted(points)
            style = STYLES[list(part.published).index(label) % len(STYLES)]
            (line,) = axes.plot(shots, [points[n][0] for n in shots], style, color="black")
            legend.setdefault(label, line)
        for label, mean in part.zero_shot.items():
            legend.setdefault(label, axes.axhline(mean, color="grey", linestyle=":"))
        axes.set(title=part.title, xlabel="shots", ylabel="test accuracy (%)", xscale="log")
        ticks = sorted({n for points in part.measured.values() for n in points})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
    # A column beside the panels, for which the figure grows: the panels keep their size.
    width, height = figure.get_size_inches()
    wider = LEGEND_LINE_INCHES + LETTER_INCHES * max(map(len, legend), default=0)
    higher = LEGEND_ROW_INCHES * (len(legend) + 1)
    figure.set_size_inches(width + wider, max(height, higher))
    figure.legend(list(legend.values()), list(legend), loc="outside right upper", fontsize=8)
    _save(figure, path)


def _panel(rows: Sequence[Row], title: str) -> _Panel:
    panel = _Panel(DATASETS.get(title, title))
    for row in rows:
        if row.method == ZERO_SHOT:
            panel.zero_shot[f"{row.backbone} zero-shot"] = row.mean
        if row.method in UNTUNED:
            continue
        label = f"{row.backbone} {METHODS[cast(MethodName, row.method)].title}"
        panel.measured.setdefault(label, {})[row.shots] = (row.mean, row.std or 0.0)
        if row.beside is not None:
            label = f"{row.backbone} {row.beside.method}, published"
            panel.published.setdefault(label, {})[row.shots] = (row.beside.accuracy, 0.0)
    return panel


def _mean_panel(parts: Sequence[_Panel]) -> _Panel:
    panel = _Panel("mean")
    for kind in ("measured", "published"):
        lines: list[dict[str, Points]] = [getattr(part, kind) for part in parts]
        for label in lines[0]:
            for shots in lines[0][label]:
                values = [line[label][shots] for line in lines if shots in line.get(label, {})]
                if len(values) == len(parts):
                    mean = statistics.mean(accuracy for accuracy, _ in values)
                    getattr(panel, kind).setdefault(label, {})[shots] = (mean, 0.0)
    for label in parts[0].zero_shot:
        values_of = [part.zero_shot[label] for part in parts if label in part.zero_shot]
        if len(values_of) == len(parts):
            panel.zero_shot[label] = statistics.mean(values_of)
    return panel


def plot_by_queries(results: Sequence[Mapping[str, Any]], path: Place) -> None:
    """Validation accuracy of the working classifier against candidate queries, a line a cell.

    Validation, because test images are asked about once, at the end of a fine-tuning.
    """
    curves = [result for result in results if len(result["curve"]) > 1]
    datasets = list(dict.fromkeys(result["dataset"] for result in curves))
    if not datasets:
        return
    figure, panels = _panels(len(datasets))
    for axes, dataset in zip(panels, datasets, strict=True):
        labels: dict[tuple[str, str, int], str] = {}
        for result in (result for result in curves if result["dataset"] == dataset):
            key = (result["backbone"], result["method"], result["shots"])
            is_new = key not in labels
            colour = labels.setdefault(key, f"C{len(labels) % 10}")
            label = f"{key[0]} {key[1]}, {shots_in_words(key[2])}" if is_new else None
            queries, accuracies = zip(*result["curve"], strict=True)
            percent = [100 * accuracy for accuracy in accuracies]
            axes.plot(queries, percent, color=colour, linewidth=0.9, label=label)
        axes.set(title=dataset, xlabel="candidate queries", ylabel="validation accuracy (%)")
        axes.legend(fontsize=6, loc="lower right")
    _save(figure, path)


def _save(figure: Figure, path: Place) -> None:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    path.write_bytes(content.getvalue())


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    width, height = PANEL_INCHES
    figure = Figure(figsize=(max(columns * width, 4.5), rows * height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for unused in panels[count:]:
        unused.set_visible(False)
    return figure, panels[:count]
